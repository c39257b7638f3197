"""The links to a supervisor's workers: their processes, and the supplies for connections and orders."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

from sockact.config.records import RecordKind, about
from sockact.handover.exchange import Exchange, WorkerLoad
from sockact.handover.transfer import CONNECTION, SUPPLY
from sockact.process.child import Child
from sockact.process.left_over import LeftOver
from sockact.protocols.notify import Notification
from sockact.protocols.worker_messages import EXITED, TRIM, SupervisorOrder
from sockact.sockets.fds import Listener
from sockact.supervisor.balancer import Balancer
from sockact.supervisor.children import ChildEvents, Children, WorkerSpec
from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.orders import Order
from sockact.supervisor.reports import Reports
from sockact.supervisor.succession import Succession

logger = logging.getLogger(__package__)


class WorkerLinks:
    """The links to all workers of a fleet.

    Args:
        spec: the specification of a worker process.
        fleet: the supervisor's decisions about the workers.
        reports: their own reports.
        succession: keeps workers and connections for the next supervisor.
        unassigned: connections that wait from the beginning.
        events: the callbacks for what happens to worker processes.

    Attributes:
        children: their processes.
        exchange: distributes connections among them.
        balancer: keeps their load even.
        ledger: their statistics, which can be read at any moment.
        ending: whether all of them are to end, so that none is replaced.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        fleet: Fleet,
        reports: Reports,
        succession: Succession,
        unassigned: Sequence[int],
        events: ChildEvents,
    ) -> None:
        self._handover = spec.handover
        self._fleet = fleet
        self._reports = reports
        self._succession = succession
        self.children = Children(spec, fleet.rules.watchdog, self._new_supply, events)
        limit = self.children.descriptor_limit
        self.exchange = Exchange(self.receivers, unassigned, limit, self._holding, succession.store)
        self.balancer = Balancer(self.exchange, self.receivers, self._is_settled)
        self.ledger = succession.ledger
        self.ending = False
        self._crews: dict[int, int] = {}
        self._unkept: dict[int, tuple[int, Child]] = {}

    def started(self, number: int, generation: int, child: Child) -> None:
        """Note that the process of a worker has started: the next supervisor may need it."""
        if generation == self._fleet.canary:
            self._unkept[number] = generation, child
        else:
            self._keep(number, generation, child)

    def _keep(self, number: int, generation: int, child: Child) -> None:
        if (supply := self.exchange.supply_of(number)) is not None:
            self._succession.keep(number, generation, [*child.descriptors(), supply.fileno()])

    def keep_proved(self) -> None:
        """Keep the workers for the next supervisor that were a canary.

        Not before: a canary must not outlive its supervisor, the only one that compares it. Without its
        lifeline it drains by itself.
        """
        if self._unkept and not self._fleet.canary:
            proved, self._unkept = self._unkept, {}
            for number, (generation, child) in proved.items():
                if generation in (self._fleet.current, self._fleet.next) and not child.has_ended():
                    self._keep(number, generation, child)

    def adopt(self, worker: LeftOver) -> None:
        """Link a left-over worker."""
        self._succession.adopt(worker)
        self.children.adopt(worker.number, worker.handle)
        if worker.supply is not None:
            self.exchange.supply(worker.number, worker.supply).ask_to_introduce()

    def introduced(self) -> None:
        """Note that a left-over worker serves, and can have connections."""
        self.exchange.pass_on()

    def forget(self, number: int) -> None:
        """Remove the links of a worker that has ended."""
        self._unkept.pop(number, None)
        self.exchange.forget(number)
        self.balancer.forget(number)
        self.ledger.close(number)
        self._succession.forget(number)

    def end(self) -> None:
        """Start and replace no worker from now on."""
        self.ending = True
        self.balancer.close()
        self.children.start_no_more()

    def look_soon(self) -> None:
        """Look in a moment whether the load is even: something has happened to the workers."""
        if not self.ending:
            self.balancer.look_soon()

    def let_go(self) -> None:
        """Leave all workers, and the connections that wait, to the next supervisor."""
        self.exchange.let_go()
        self.children.let_go()

    def order(self, number: int, order: Order) -> None:
        """Send a worker an order of the fleet."""
        if not self.ending:
            self.exchange.retire(number)
        self.children.cancel(number)
        if order is Order.KILL:
            ends = self._fleet.workers[number].ends
            missed = "it has announced its end, but does not end" if ends else "it missed its deadline"
            facts = about(RecordKind.WORKER_KILLED, worker=number)
            logger.error("worker=%d is killed: %s", number, missed, extra=facts)
        self.tell(number, signal.Signals[order.value])

    def begin_orders(self, number: int) -> None:
        """Send orders from now on; the app may have kept a signal from the worker during its import."""
        worker = self._fleet.workers[number]
        if not self.exchange.take_orders(number):
            return  # it takes them already
        if worker.drains:
            self.tell(number, signal.SIGTERM)
        if worker.aborted:
            self.tell(number, signal.SIGQUIT)

    def tell(self, worker: int, number: signal.Signals) -> None:
        """Tell a worker to do what a signal means: by an order, which its app cannot keep away."""
        kills = number in (signal.SIGABRT, signal.SIGKILL)
        if kills or not self.exchange.order(worker, SupervisorOrder(number.name)):
            self.children.send(worker, number)

    def tell_exit(self, worker: int, pid: int) -> bool:
        """Tell a worker that a process has ended; return whether that is on its way."""
        return self.exchange.order(worker, SupervisorOrder(EXITED, pid))

    def trim(self) -> None:
        """Tell all workers to return free memory, but those of older code, or that are other programs."""
        for number in self.children:
            self.exchange.order(number, SupervisorOrder(TRIM))

    def take(self, number: int, notification: Notification) -> None:
        """Take the connections that a worker hands over; this is no store for other descriptors."""
        child = self.children.get(number)
        if notification.assignments.get("FDNAME") == CONNECTION:
            exited = child is None or child.has_ended()
            self.exchange.take(notification.stored, number, sender_exited=exited)
        else:
            notification.close()

    def have_served(self) -> list[int]:
        """Return the workers that have been ready, those that drain included."""
        return [number for number in self._fleet.workers if self._reports.of(number).ready]

    def receivers(self) -> list[int]:
        """Return the workers that are to have connections, if connections move.

        A canary gets its share: kept connections may be all that there are, behind a proxy for example.
        """
        return [*self.serving(), *self.canaries()] if self._handover else []

    def canaries(self) -> list[int]:
        """Return the workers on trial that serve their share beside the others."""
        canary = self._fleet.canary if self._fleet.compares else 0
        workers = self._fleet.workers.values()
        return [each.number for each in workers if each.serves and each.generation == canary]

    def serving(self) -> list[int]:
        """Return the ready workers of the newest generation that has taken over.

        Before the first one has, left-over workers serve.
        """
        workers = [each for each in self._fleet.workers.values() if each.serves]
        if current := self._fleet.current:
            serving = [each for each in workers if each.generation == current and not each.leaving]
        else:
            serving = [each for each in workers if each.left_over and self._reports.of(each.number).ready]
        return [each.number for each in serving if not self._reports.of(each.number).stopping]

    def _holding(self, worker: int) -> WorkerLoad | None:
        return self.balancer.holding(worker)

    def _is_settled(self) -> bool:
        """Return whether the workers that serve stay: no reload and no roll-out is under way."""
        leaves = any(worker.leaving for worker in self._fleet.workers.values())
        on_trial = self._fleet.next and not self._fleet.compares
        return not (self.ending or on_trial or leaves)

    def _crew(self, generation: int) -> int:
        """Return the number under which a generation shares the load: a canary does so with the others.

        All workers of its generation then do, to the end.
        """
        if generation == self._fleet.canary:
            current = self._fleet.current
            self._crews = {generation: self._crews.get(current, current), **self._of_present(self._crews)}
        return self._crews.get(generation, generation)

    def _of_present(self, crews: dict[int, int]) -> dict[int, int]:
        present = {worker.generation for worker in self._fleet.workers.values()}
        return {generation: crew for generation, crew in crews.items() if generation in present}

    def _new_supply(self, number: int) -> list[Listener]:
        theirs = self.exchange.supply(number).theirs
        passed = [] if theirs is None else [Listener.of(theirs, SUPPLY)]
        generation = self._fleet.workers[number].generation
        memory = self.balancer.admit(number, self._crew(generation)), self.ledger.open(number, generation)
        return [*passed, *(each for each in memory if each is not None)]
