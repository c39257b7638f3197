"""The processes of a simulated service: a supervisor and its workers, whose own code is the real one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from sockact.config.settings import Settings
from sockact.errors import AppError, SockactError
from sockact.handover.store import Store
from sockact.handover.transfer import SUPPLY
from sockact.hooks import Registry
from sockact.lifecycle.conductor import Conductor
from sockact.lifecycle.end_signals import SECOND_SIGINT, EndSignals
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.reloads import Reloads
from sockact.lifecycle.tasks import Background
from sockact.process.child_handle import ChildHandle, Conditions
from sockact.process.command import Program
from sockact.process.ledger import StatisticsLedger, is_past
from sockact.process.left_over import LeftOvers
from sockact.process.parent_death import Lifeline
from sockact.protocols.environment import GENERATION
from sockact.runtime import Draining
from sockact.sockets.fds import Kind, Listener
from sockact.supervisor.children import WorkerSpec
from sockact.supervisor.main import rules_of
from sockact.supervisor.service import Supervisor
from sockact.supervisor.succession import Succession
from sockact.worker import manager
from sockact.worker.app_lifecycle import AppContext
from sockact.worker.hook_runner import HookRunner
from sockact.worker.service import Host, Worker
from tests.simulation.engine import SimulatedEngine
from tests.simulation.kernel import Kernel, SimulatedProcess
from tests.simulation.wires import SimulatedNotifySocket, SimulatedReporter, datagrams


@dataclass(frozen=True)
class Release:
    """What lies on the disk of the simulated machine, for the next process that imports it.

    Attributes:
        version: its version.
        start: seconds of its import and start.
        fault: what is wrong with it: "" for nothing; "raises", "exits", "hangs" in its import, or "dies" a
            moment after it was ready.
        end: seconds of the app's end.
    """

    version: int = 1
    start: float = 0.2
    fault: str = ""
    end: float = 0.0


@dataclass
class Machine:
    """What the processes of a machine share.

    Attributes:
        kernel: the kernel.
        settings: the settings of the service.
        release: the code on the disk.
        listener: the listening socket, which the service manager has.
        owners: the process that serves a client's connection, by the client's name.
        closed: when an idle connection was closed, by the client's name.
        aborted: the clients whose requests were aborted.
        held: the clients whose connections were given up as they waited for a worker, or were on their way.
    """

    kernel: Kernel
    settings: Settings
    listener: socket.socket
    release: Release = field(default_factory=Release)
    owners: dict[bytes, SimulatedProcess] = field(default_factory=dict)
    closed: dict[bytes, float] = field(default_factory=dict)
    aborted: set[bytes] = field(default_factory=set)
    held: set[bytes] = field(default_factory=set)
    supervisors: dict[int, SupervisorProcess] = field(default_factory=dict)
    workers: dict[int, WorkerProcess] = field(default_factory=dict)


class WorkerProcess:
    """A worker: the real service and conductor, around a simulated engine."""

    def __init__(
        self,
        machine: Machine,
        notify: socket.socket,
        lifeline: socket.socket,
        supply: socket.socket,
        environ: Mapping[str, str],
    ) -> None:
        self.generation = int(environ[GENERATION])
        self.release = machine.release
        self.process = SimulatedProcess(machine.kernel, "worker")
        self._machine = machine
        self._lifeline = lifeline
        self._supply = supply
        usec = environ.get("WATCHDOG_USEC")
        self.reporter = SimulatedReporter(notify, watchdog=None if usec is None else int(usec) / 1e6)
        self.process.at_end(notify.close)
        self.process.at_end(lifeline.close)
        self.process.at_end(supply.close)
        self._expiry: asyncio.TimerHandle | None = None
        self._serving: SimulatedEngine | None = None
        machine.workers[self.process.pid] = self
        self.process.begin(self._live)

    @property
    def is_busy(self) -> bool:
        """True while it lives and answers a request."""
        return self.process.lives and self._serving is not None and self._serving.in_flight > 0

    async def _live(self) -> int:
        loop, chosen, release = asyncio.get_running_loop(), self._machine.settings, self.release
        loop.add_reader(self._lifeline.fileno(), self._supervisor_gone)
        self.reporter.extend(chosen.start_timeout)
        await asyncio.sleep(release.start / 2)
        if release.fault == "exits":
            return 7
        if release.fault == "hangs":
            await asyncio.Event().wait()
        conductor = Conductor(self.reporter, chosen, Reloads())
        engine = self._serving = self._engine()
        worker = self._worker(conductor, engine)
        try:
            await conductor.run(worker, cast(Any, self.process))
        except SockactError as error:
            self.reporter.failing(str(error))
            return error.exit_status
        finally:
            self._within(chosen.shutdown_timeout + 1, "the end")
            self.reporter.ending()
        return 0

    def _supervisor_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline.fileno())
        self.process.send(signal.SIGTERM)

    def _engine(self) -> SimulatedEngine:
        machine, process = self._machine, self.process
        engine = SimulatedEngine(
            machine.listener.dup(),
            b"%d" % self.release.version,
            self._start_app,
            self._end_app,
            machine.settings.linger,
            lambda client: machine.owners.__setitem__(client, process),
            lambda client: machine.closed.__setitem__(client, machine.kernel.loop.time()),
            machine.aborted.add,
        )
        process.at_end(engine.close_all)
        return engine

    async def _start_app(self) -> None:
        await asyncio.sleep(self.release.start / 2)
        if self.release.fault == "raises":
            raise AppError("the app is broken")
        if self.release.fault == "dies":
            asyncio.get_running_loop().call_later(0.3, self.process.end, 9)

    async def _end_app(self) -> None:
        await asyncio.sleep(self.release.end)

    def _worker(self, conductor: Conductor, engine: SimulatedEngine) -> Worker:
        stub = SimpleNamespace(
            notifier=self.reporter,
            sockets=SimpleNamespace(supply=SimpleNamespace(sock=self._supply), load=None, statistics=None),
            report=lambda error: self.reporter.failing(str(error)),
        )
        links = manager._links_supervised(cast(Any, stub), conductor)
        context = AppContext(HookRunner(Registry()), Background(), Draining(), Readiness())
        host = Host(Program(("app",), "/", {}, ()), self.generation, False, self._within)
        return Worker(cast(Any, engine), self._machine.settings, host, links, context)

    def _within(self, seconds: float | None, _: str) -> None:
        """End the process if the next step of its end takes longer, as a thread does."""
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry = None if seconds is None else loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        self.process.harmed = self.process.was_stopped  # for its whole drain, perhaps
        self.process.end(0)


class SupervisorProcess:
    """The main process: the real supervisor and conductor.

    Args:
        machine: the machine.
        reporter: its notifier.
        stored: the descriptors that the service manager has stored, as copies, by name.
    """

    def __init__(
        self, machine: Machine, reporter: SimulatedReporter, stored: Sequence[tuple[str, int]]
    ) -> None:
        self.process = SimulatedProcess(machine.kernel, "supervisor")
        self.reporter = reporter
        self.conductor: Conductor | None = None
        self.supervisor: Supervisor | None = None
        self._machine = machine
        self._stored = stored
        self._ledger: StatisticsLedger | None = None
        machine.supervisors[self.process.pid] = self
        self.process.at_end(self._close_all)
        self.process.begin(self._live)

    async def _live(self) -> int:
        await asyncio.sleep(0.1)  # the interpreter, and imports
        chosen = self._machine.settings
        left_over = LeftOvers()
        unassigned, past = [], []
        for name, fd in self._stored:
            listener = _listener(name, fd)
            if is_past(listener):
                past.append(listener)
            elif not left_over.add(listener):
                unassigned.append(listener.sock.detach() if listener.sock else fd)
        self._stored = ()
        end_signals = EndSignals({**SECOND_SIGINT, signal.SIGTERM: 1.0})
        conductor = Conductor(self.reporter, chosen, Reloads(), end_signals)
        store = Store(self.reporter)
        self._ledger = StatisticsLedger(self.reporter, past)
        succession = Succession(self.reporter, store, supplied=True, ledger=self._ledger)
        spec = WorkerSpec(Program(("app",), "/", {}, ()), [], handover=chosen.handover)
        rules = rules_of(chosen, ours=True)
        supervisor = Supervisor(spec, rules, conductor, succession, unassigned)
        workers = left_over.take() if succession.possible else []
        self._ledger.adopt({(each.number, each.generation) for each in workers})
        supervisor.adopt(workers)
        store.forget(left_over.gone if succession.possible else left_over.dismiss())
        self.conductor, self.supervisor = conductor, supervisor
        try:
            ending = await conductor.run(supervisor, cast(Any, self.process))
        except SockactError as error:
            self.reporter.failing(str(error))
            return error.exit_status
        if ending.killed:
            supervisor.kill()
            return ending.status
        return supervisor.left or 0

    def _close_all(self) -> None:
        """Close what the kernel closes when this process has ended."""
        for _, fd in self._stored:
            os.close(fd)
        self.reporter.close()
        if (ledger := self._ledger) is not None and ledger.totals is not None:
            ledger.totals.close()
            for kept in (*ledger._kept.values(), *ledger._past.values()):
                kept.page.close()
        if self.supervisor is None:
            return
        links = self.supervisor._links
        exchange, children = links.exchange, links.children
        descriptors = [*exchange.unassigned]
        for supply in exchange._supplies.values():
            supply._ours.close()
            if supply.theirs is not None:
                supply.theirs.close()
            descriptors += [fd for batch in supply._sent for fd in batch]
        if self.process.harmed:
            stored = exchange.unassigned[: exchange._stored]
            self._machine.held.update(client_of(fd) for fd in descriptors if fd not in stored)
        for child in children._children.values():
            child._handle.manager._sock.close()
            child._handle.lifeline._sock.close()
            descriptors.append(child._handle.pidfd)
        for fd in descriptors:
            os.close(fd)

    @property
    def serves(self) -> bool:
        """True if one of its workers does; one that is left over may still be starting."""
        return self.supervisor is not None and bool(self.supervisor._links.receivers())

    def holds(self) -> int:
        """Return how many connections only this process has."""
        return 0 if self.supervisor is None else len(self.supervisor._exchange.unassigned)


def client_of(fd: int) -> bytes:
    """Return the name of the client of a connection."""
    with socket.socket(fileno=os.dup(fd)) as sock, contextlib.suppress(OSError):
        return bytes(sock.getpeername() or b"")
    return b""


def _listener(name: str, fd: int) -> Listener:
    try:
        return Listener.of(socket.socket(fileno=fd), name)
    except OSError:
        return Listener(name, fd, Kind.OTHER)


def spawner(machine: Machine) -> Any:
    """Return what takes the place of `child_handle.spawn`."""

    def spawn(
        program: Program, passed: Sequence[Listener], environ: Mapping[str, str], conditions: Conditions
    ) -> ChildHandle:
        if machine.kernel.refusals:
            machine.kernel.refusals -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        (supply,) = [each.sock.dup() for each in passed if each.name == SUPPLY and each.sock is not None]
        lifeline, theirs = Lifeline.new()
        ours, notify = datagrams()
        worker = WorkerProcess(machine, notify, theirs, supply, environ)
        pid = worker.process.pid
        return ChildHandle(pid, worker.process.copy_of_pidfd(), SimulatedNotifySocket(ours, pid), lifeline)

    return spawn
