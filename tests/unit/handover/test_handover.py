"""The two ends between which connections move, in one process."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from sockact.handover.exchange import Exchange, WorkerLoad
from sockact.handover.supply import Supply
from sockact.handover.transfer import (
    ARRIVING,
    CONNECTION,
    DATAGRAM_CAPACITY,
    HandoverReceiver,
    HandoverSender,
)
from sockact.protocols.notify import Notifier, NotifySocket
from sockact.protocols.worker_messages import EXITED, SHED, SupervisorOrder
from tests.support.in_process import RecordingStore, close, only, settle, until
from tests.support.manager import LIMIT

WORKER = 1
OTHER = 2


class Movable:
    """A connection, and what became of it."""

    def __init__(self) -> None:
        self.client, self.server = socket.socketpair()
        self.outcome = ""

    def fileno(self) -> int:
        return self.server.fileno()

    def on_moved(self) -> None:
        self.outcome = "moved"
        self.server.close()

    def on_refused(self) -> None:
        self.outcome = "stays"

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def movable() -> Iterator[Callable[[], Movable]]:
    """Give the function that makes a connection."""
    made: list[Movable] = []

    def make() -> Movable:
        made.append(Movable())
        return made[-1]

    yield make
    for each in made:
        each.close()


class World:
    """A supervisor's ends, and those of a worker that gives and of another one that receives."""

    def __init__(self, manager: NotifySocket) -> None:
        self.manager = manager
        self.serving: list[int] = []
        self.holdings: dict[int, WorkerLoad] = {}
        self.store = RecordingStore()
        store: Any = self.store
        self.exchange = Exchange(lambda: self.serving, holding=self.holdings.get, store=store)
        self.arrived: list[socket.socket] = []
        self.shares = {WORKER: 0, OTHER: 0}
        self.receivers: dict[int, HandoverReceiver] = {}
        self.heard: list[str | int] = []
        self._notifier = Notifier()
        self.sender = self._worker(WORKER)
        self._worker(OTHER)

    def _worker(self, number: int) -> HandoverSender:
        sender = HandoverSender(lambda fds: self._notifier.store(fds, CONNECTION), confirms=True)
        supply = self.exchange.supply(number)

        def arrived(connection: socket.socket) -> None:
            self.arrived.append(connection)
            self.shares[number] += 1

        ordered, numbered = self.heard.append, {EXITED: self.heard.append}
        orphaned = lambda: self.heard.append("orphaned")  # noqa: E731
        sock = supply.theirs.dup()
        self.receivers[number] = HandoverReceiver(sock, arrived, sender, ordered, numbered, orphaned)
        supply.theirs.close()  # as the supervisor does when it has passed it
        return sender

    def take(self) -> int:
        """Take one batch, as the supervisor does, and return how many connections it had."""
        notification = self.manager.receive()
        assert notification
        assert notification.assignments["FDNAME"] == CONNECTION
        self.exchange.take(notification.stored, WORKER)
        return len(notification.stored)

    async def move(self, *connections: Movable) -> None:
        """Give these, as one batch, from the worker that gives to the supervisor."""
        for connection in connections:
            self.sender.offer(connection)
        await settle()
        self.take()
        await settle()

    def serve(self, *workers: int) -> None:
        """Have these workers serve from now on."""
        self.serving = list(workers)
        self.exchange.pass_on()

    def close(self) -> None:
        for connection in self.arrived:
            connection.close()
        for receiver in self.receivers.values():
            receiver.close()
        close(self._notifier)
        for number in (WORKER, OTHER):
            self.exchange.forget(number)
        self.exchange.end()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the function that runs a scene in a world of its own."""

    def run(scene: Callable[[World], Awaitable[None]]) -> None:
        async def play() -> None:
            world = World(manager)
            try:
                await scene(world)
            finally:
                world.close()

        with NotifySocket(stores=True) as manager:
            monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
            asyncio.run(play())

    return run


def test_a_connection_stays_open_until_it_was_taken(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.sender.offer(connection)
        await settle()
        assert connection.outcome == ""

        world.take()
        await settle()
        assert connection.outcome == "moved"

        world.serve(OTHER)
        await settle()
        connection.client.sendall(b"next")
        assert world.arrived[0].recv(4) == b"next"

    run(scene)


def test_what_was_taken_waits_for_somebody_who_serves(run, movable) -> None:
    async def scene(world: World) -> None:
        await world.move(movable())
        assert world.arrived == []

        world.serve(OTHER)
        await settle()
        assert len(world.arrived) == 1

    run(scene)


def test_what_nobody_has_taken_stays_when_the_supervisor_is_gone(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.sender.offer(connection)
        await settle()
        world.exchange.forget(WORKER)  # as its death does
        await settle()
        assert connection.outcome == "stays"
        assert world.sender.room == 0

    run(scene)


def test_a_supervisor_that_stops_takes_nothing_that_comes_late(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.sender.offer(connection)
        await settle()
        world.exchange.end()
        world.take()
        await settle()
        assert connection.outcome == "stays"
        connection.client.sendall(b"here")
        assert connection.server.recv(4) == b"here"

    run(scene)


def test_nothing_is_given_when_nobody_listens(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.manager.close()
        world.sender.offer(connection)
        await settle()
        world.exchange.end()
        await settle()
        assert connection.outcome == "stays"

    run(scene)


def test_many_go_in_batches_each_of_which_is_confirmed(run, movable) -> None:
    connections = [movable() for _ in range(DATAGRAM_CAPACITY + 10)]

    async def scene(world: World) -> None:
        for connection in connections:
            world.sender.offer(connection)
        await settle()
        assert world.take() == DATAGRAM_CAPACITY
        await settle()
        assert [each.outcome for each in connections] == ["moved"] * DATAGRAM_CAPACITY + [""] * 10

        assert world.take() == 10
        await settle()
        assert {each.outcome for each in connections} == {"moved"}

    run(scene)


def test_connections_go_to_those_who_have_the_fewest(run, movable) -> None:
    async def scene(world: World) -> None:
        world.holdings |= {WORKER: WorkerLoad(7), OTHER: WorkerLoad(2)}
        world.serve(WORKER, OTHER)
        await world.move(*[movable() for _ in range(9)])
        assert world.shares == {WORKER: 2, OTHER: 7}

    run(scene)


def test_a_worker_with_a_smaller_share_gets_fewer(run, movable) -> None:
    async def scene(world: World) -> None:
        world.holdings |= {WORKER: WorkerLoad(0, 0.25), OTHER: WorkerLoad(0)}
        world.serve(WORKER, OTHER)
        await world.move(*[movable() for _ in range(10)])
        assert world.shares == {WORKER: 2, OTHER: 8}

    run(scene)


def test_where_a_worker_does_not_tell_it_counts_what_it_got(run, movable) -> None:
    async def scene(world: World) -> None:
        world.serve(WORKER)
        await world.move(*[movable() for _ in range(4)])
        world.serve(WORKER, OTHER)
        await world.move(*[movable() for _ in range(6)])
        assert world.shares == {WORKER: 5, OTHER: 5}

    run(scene)


def test_it_is_known_how_many_are_under_way(run, movable) -> None:
    async def scene(world: World) -> None:
        world.serve(OTHER)
        await world.move(*[movable() for _ in range(3)])
        assert world.exchange.under_way(OTHER, 1) == 2
        assert world.exchange.under_way(OTHER, 3) == 0
        assert world.exchange.under_way(OTHER, 99) == 0
        assert world.exchange.under_way(3, 0) == 0

    run(scene)


def test_a_worker_is_told_how_many_to_hand_over(run, movable) -> None:
    async def scene(world: World) -> None:
        shed: list[int] = []
        world.receivers[WORKER]._numbered = {SHED: shed.append}
        assert not world.exchange.shed(WORKER, 3)  # it has not asked for orders
        assert world.exchange.take_orders(WORKER)
        assert world.exchange.shed(WORKER, 3)
        assert not world.exchange.shed(9, 3)
        await settle()
        assert shed == [3]

    run(scene)


def test_what_a_worker_was_told_to_hand_over_does_not_count_in_its_drain(run, movable) -> None:
    connections = [movable() for _ in range(8)]

    async def scene(world: World) -> None:
        world.exchange._share = lambda _: 2
        world.sender.lasting = True
        assert world.exchange.take_orders(WORKER)
        for place in (0, 3):
            world.exchange.shed(WORKER, 3)
            await world.move(*connections[place : place + 3])
        assert [each.outcome for each in connections] == ["moved"] * 6 + [""] * 2

        await world.move(*connections[6:])
        assert [each.outcome for each in connections[6:]] == ["moved"] * 2

    run(scene)


def test_a_worker_that_serves_on_goes_on_after_a_refusal(run, movable) -> None:
    refused, taken = movable(), movable()

    async def scene(world: World) -> None:
        world.sender.lasting = True
        world.exchange._share = lambda _: 0
        await world.move(refused)
        assert refused.outcome == "stays"
        assert world.sender.room > 0

        world.exchange._share = lambda _: 1
        await world.move(taken)
        assert taken.outcome == "moved"

    run(scene)


def test_a_worker_that_drains_does_not(run, movable) -> None:
    async def scene(world: World) -> None:
        world.exchange._share = lambda _: 0
        await world.move(movable())
        assert world.sender.room == 0

    run(scene)


def test_more_than_the_queue_of_the_manager_holds_wait_for_their_turn(run, movable) -> None:
    connections = [movable() for _ in range(20)]

    async def scene(world: World) -> None:
        for connection in connections:
            world.sender.offer(connection)
            await settle()  # each is a batch of its own
        taken = 0
        while taken < 20:
            taken += world.take()
            await settle()
        assert {each.outcome for each in connections} == {"moved"}

    run(scene)


def test_one_that_was_closed_before_it_was_given_is_left_out(run, movable) -> None:
    gone, here = movable(), movable()

    async def scene(world: World) -> None:
        world.sender.offer(gone)
        world.sender.offer(here)
        gone.close()
        await settle()
        assert world.take() == 1

    run(scene)


def test_what_comes_one_by_one_is_spread(run, movable) -> None:
    connections = [movable() for _ in range(6)]

    async def scene(world: World) -> None:
        world.serve(WORKER, OTHER)
        for connection in connections:
            await world.move(connection)
        assert world.shares == {WORKER: 3, OTHER: 3}

    run(scene)


def test_who_serves_later_gets_as_many_as_who_served_before(run, movable) -> None:
    before, after = [movable() for _ in range(5)], [movable() for _ in range(5)]

    async def scene(world: World) -> None:
        for serving, connections in (((OTHER,), before), ((OTHER, WORKER), after)):
            world.serving = [*serving]
            await world.move(*connections)
        assert world.shares == {WORKER: 5, OTHER: 5}

    run(scene)


def test_no_copy_is_left_behind(run, movable) -> None:
    connections = [movable() for _ in range(3)]

    async def scene(world: World) -> None:
        for connection in connections:
            world.sender.offer(connection)
        await settle()
        world.take()
        world.serve(OTHER)
        await settle()
        for arrived in world.arrived:
            arrived.close()
        assert all(connection.client.recv(1) == b"" for connection in connections)

    run(scene)


def test_what_the_kernel_does_not_let_go_is_given_a_little_later(run, movable, monkeypatch) -> None:
    connections = [movable() for _ in range(3)]
    refusals = iter([OSError(errno.ETOOMANYREFS, "too many"), BlockingIOError(), None])

    async def scene(world: World) -> None:
        send = socket.send_fds

        def send_fds(*arguments: Any) -> int:
            if error := next(refusals, None):
                raise error
            return send(*arguments)

        monkeypatch.setattr(socket, "send_fds", send_fds)
        for connection in connections:
            world.sender.offer(connection)
        given = asyncio.Event()
        asyncio.get_running_loop().add_reader(world.manager.fileno(), given.set)
        async with asyncio.timeout(LIMIT):
            await given.wait()
        asyncio.get_running_loop().remove_reader(world.manager.fileno())
        assert {each.outcome for each in connections} == {""}
        assert world.take() == 3
        await settle()
        assert {each.outcome for each in connections} == {"moved"}

    run(scene)


def test_what_the_kernel_does_not_let_go_for_long_stays_where_it_is_served(
    run, movable, monkeypatch
) -> None:
    monkeypatch.setattr("sockact.handover.transfer.REFUSED_TIMEOUT", 0.05)
    connection = movable()

    def send_fds(*_: Any) -> int:
        raise OSError(errno.ETOOMANYREFS, "too many")

    async def scene(world: World) -> None:
        monkeypatch.setattr(socket, "send_fds", send_fds)
        refused = asyncio.Event()
        monkeypatch.setattr(connection, "on_refused", refused.set)
        world.sender.offer(connection)
        async with asyncio.timeout(LIMIT):
            await refused.wait()

    run(scene)


def test_nothing_is_taken_while_what_waits_cannot_be_sent_to_those_who_serve(
    run, movable, monkeypatch
) -> None:
    monkeypatch.setattr("sockact.handover.exchange.STUCK_TIMEOUT", 0.0)
    first, second = movable(), movable()

    async def scene(world: World) -> None:
        sent = Supply.pass_on
        monkeypatch.setattr(Supply, "pass_on", lambda *_: False)  # as with ETOOMANYREFS
        world.serve(OTHER)
        await world.move(first)
        await world.move(second)
        assert [first.outcome, second.outcome] == ["moved", "stays"]

        monkeypatch.setattr(Supply, "pass_on", sent)
        world.exchange.pass_on()
        await settle()
        assert len(world.arrived) == 1

    run(scene)


def test_nobody_who_serves_is_no_reason_to_take_nothing(run, movable, monkeypatch) -> None:
    monkeypatch.setattr("sockact.handover.exchange.STUCK_TIMEOUT", 0.0)
    first, second = movable(), movable()

    async def scene(world: World) -> None:
        monkeypatch.setattr(Supply, "pass_on", lambda *_: False)  # as of a worker that has ended
        world.serve(OTHER)
        await world.move(first)
        world.serve()
        await world.move(second)

        assert [first.outcome, second.outcome] == ["moved", "moved"]
        world.exchange.refuse()

    run(scene)


def test_what_a_worker_has_no_descriptors_for_waits_until_it_has_some(run, movable, monkeypatch) -> None:
    connections = [movable() for _ in range(20)]
    monkeypatch.setattr("sockact.handover.exchange.RECOVERY", 0.01)

    async def scene(world: World) -> None:
        for connection in connections:
            world.sender.offer(connection)
        await settle()
        assert world.take() == 20
        await settle()
        with only(5):
            world.serve(OTHER)
            await settle()
        assert len(world.arrived) == 5

        await until(lambda: len(world.arrived) == 20)
        for connection in connections:
            connection.client.sendall(b"here")
        assert [arrived.recv(4) for arrived in world.arrived] == [b"here"] * 20

    run(scene)


def test_nothing_is_taken_while_workers_have_no_descriptors_for_it(run, movable) -> None:
    before, after = [movable() for _ in range(20)], movable()

    async def scene(world: World) -> None:
        for connection in before:
            world.sender.offer(connection)
        await settle()
        world.take()
        await settle()
        with only(5):
            world.serve(OTHER)
            await settle()
        world.sender.offer(after)
        await settle()
        world.take()
        await settle()
        assert after.outcome == "stays"

    run(scene)


def test_what_a_worker_has_not_received_before_its_end_goes_to_another_one(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.sender.offer(connection)
        await settle()
        world.take()
        world.serve(WORKER)  # it comes back to where it was
        world.receivers[WORKER].close()
        world.serving = [OTHER]
        await until(lambda: bool(world.arrived))
        connection.client.sendall(b"here")
        assert world.arrived[0].recv(4) == b"here"

    run(scene)


def test_what_a_worker_has_received_before_its_end_goes_to_nobody_else(run, movable) -> None:
    connections = [movable() for _ in range(3)]

    async def scene(world: World) -> None:
        world.serving = [WORKER]
        for connection in connections:
            world.exchange.unassigned.append(connection.server.detach())
            world.exchange.pass_on()
            world.receivers[WORKER].receive()  # and says so, which nobody has read yet
            connection.client.setblocking(False)
        world.receivers[WORKER].close()
        for arrived in world.arrived:
            arrived.close()
        world.exchange.forget(WORKER)
        world.serve(OTHER)
        assert [connection.client.recv(1) for connection in connections] == [b""] * 3
        assert world.exchange.unassigned == []

    run(scene)


# Orders.


def test_a_worker_that_has_not_asked_for_orders_gets_none(run) -> None:
    async def scene(world: World) -> None:
        assert not world.exchange.order(OTHER, SupervisorOrder("SIGTERM"))
        await settle()
        assert world.heard == []
        assert not world.receivers[OTHER].listened_to

    run(scene)


def test_orders_arrive_in_their_order_and_beside_connections(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        assert world.exchange.take_orders(OTHER)
        world.serve(OTHER)
        await world.move(connection)
        assert world.exchange.order(OTHER, SupervisorOrder("SIGTERM"))
        assert world.exchange.order(OTHER, SupervisorOrder("EXITED", 12))
        assert world.exchange.order(OTHER, SupervisorOrder("SIGQUIT"))
        await until(lambda: len(world.heard) == 3)
        assert world.heard == ["SIGTERM", 12, "SIGQUIT"]
        assert len(world.arrived) == 1
        assert world.receivers[OTHER].listened_to
        assert world.receivers[OTHER].told.is_set()

    run(scene)


def test_orders_reach_a_worker_after_the_supervisor_takes_nothing_any_more(run, movable) -> None:
    connection = movable()

    async def scene(world: World) -> None:
        world.exchange.take_orders(WORKER)
        await settle()
        world.sender.offer(connection)
        await settle()
        world.exchange.end()
        world.take()  # what was under way then
        await until(lambda: connection.outcome == "stays")
        assert world.exchange.order(WORKER, SupervisorOrder("SIGQUIT"))
        await until(lambda: "SIGQUIT" in world.heard)
        assert world.sender.room == 0

    run(scene)


def test_an_older_worker_reads_that_nobody_takes_anything_from_the_end_of_its_supply(run) -> None:
    async def scene(world: World) -> None:
        world.exchange.end()
        await until(lambda: world.heard == ["orphaned"] * 2)
        assert not world.exchange.take_orders(OTHER)
        assert not world.exchange.order(OTHER, SupervisorOrder("SIGTERM"))

    run(scene)


def test_no_order_is_on_its_way_to_a_worker_that_has_closed_its_supply(run) -> None:
    async def scene(world: World) -> None:
        world.exchange.take_orders(OTHER)
        world.receivers[OTHER].close()
        assert not world.exchange.order(OTHER, SupervisorOrder("SIGQUIT"))
        assert world.heard == []

    run(scene)


def test_a_worker_that_is_replaced_is_told_so_by_one_byte_which_each_version_reads(run) -> None:
    async def scene(world: World) -> None:
        world.exchange.retire(OTHER)
        await until(lambda: world.receivers[OTHER].retired)
        assert world.receivers[OTHER].told.is_set()
        assert world.heard == []

    run(scene)


def test_an_order_of_a_later_version_is_left_to_who_knows_orders(run) -> None:
    async def scene(world: World) -> None:
        world.exchange.take_orders(OTHER)
        world.exchange.order(OTHER, SupervisorOrder("DANCE"))
        await until(lambda: world.heard == ["DANCE"])
        assert not world.receivers[OTHER].told.is_set()

    run(scene)


def test_a_left_over_worker_gets_connections_when_it_has_introduced_itself(
    movable: Callable[[], Movable],
) -> None:
    """What it has confirmed to the supervisor before is no confirmation of what it gets from this one."""

    async def play() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        exchange = Exchange(lambda: [WORKER])
        with theirs:
            theirs.send(bytes([1]))  # of a batch of the supervisor before, as yet unread
            exchange.supply(WORKER, ours).ask_to_introduce()
            exchange.unassigned += [os.dup(movable().fileno()) for _ in range(3)]
            exchange.pass_on()
            asked = theirs.recv(100)
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(100)

            assert exchange.take_orders(WORKER)
            exchange.pass_on()

            assert asked.endswith(b"INTRODUCE")
            assert theirs.recv(100).endswith(b"LISTENING")
            data, descriptors, _, _ = socket.recv_fds(theirs, 100, 10)
            assert (data, len(descriptors)) == (bytes([ARRIVING]), 3)
            await asyncio.sleep(0)
            assert exchange.unassigned == []
            theirs.send(bytes([3]))
            await settle()
            assert exchange.unassigned == []
            for fd in descriptors:
                os.close(fd)
        exchange.forget(WORKER)
        exchange.end()

    asyncio.run(play())


def test_what_is_kept_for_the_next_process_is_stored_as_it_comes(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.exchange.unassigned.append(os.dup(movable().fileno()))
        first, second, third = movable(), movable(), movable()

        world.exchange.keep(3)
        assert len(world.store.content) == 1
        await world.move(first, second, third)

        assert world.store.content == world.exchange.unassigned
        assert [each.outcome for each in (first, second, third)] == ["moved", "moved", "stays"]
        world.exchange.refuse()

    run(scene)


def test_what_was_kept_for_a_process_that_does_not_come_goes_to_workers_that_drain(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.serving.clear()
        world.exchange.keep(3)
        await world.move(movable(), movable())
        assert len(world.store.content) == 2

        world.exchange.call_off(lambda: [OTHER])
        await settle()

        assert len(world.arrived) == 2
        assert world.store.content == []
        late = movable()
        await world.move(late)
        assert late.outcome == "stays"

    run(scene)


def test_a_store_that_is_full_keeps_nothing_from_being_served_when_no_process_comes(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.serving.clear()
        world.exchange.keep(2)
        await world.move(movable(), movable())
        assert world.exchange.keeps

        world.exchange.call_off(lambda: [OTHER])
        await settle()

        assert len(world.arrived) == 2
        assert not world.exchange.keeps

    run(scene)


def test_what_no_worker_is_left_for_is_closed_when_no_process_comes(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.serving.clear()
        world.exchange.keep(3)
        await world.move(movable())

        world.exchange.call_off(list)

        assert (world.exchange.unassigned, world.store.content) == ([], [])

    run(scene)


def test_what_waits_at_the_end_does_not_go_to_a_worker_that_has_not_started(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.exchange.unassigned += [os.dup(movable().fileno()) for _ in range(2)]

        world.exchange.end(able=[OTHER])
        await settle()

        assert world.shares == {WORKER: 0, OTHER: 2}

    run(scene)


def test_what_cannot_be_sent_to_a_worker_that_has_ended_goes_to_another_one(
    run: Callable[..., None], movable: Callable[[], Movable]
) -> None:
    async def scene(world: World) -> None:
        world.exchange.unassigned += [os.dup(movable().fileno()) for _ in range(4)]
        world.receivers[WORKER].close()  # its end is not known yet

        world.exchange.end()
        await settle()

        assert world.shares == {WORKER: 0, OTHER: 4}

    run(scene)


@pytest.mark.parametrize("spared", [(), (OTHER,)], ids=["nobody follows", "another supervisor follows"])
def test_what_waits_at_the_end_goes_to_workers_that_drain_unless_another_supervisor_has_it(
    run: Callable[..., None], movable: Callable[[], Movable], spared: tuple[int, ...]
) -> None:
    async def scene(world: World) -> None:
        world.exchange.unassigned.append(os.dup(movable().fileno()))

        world.exchange.end(spared)
        await settle()

        world.exchange.let_go()
        assert (len(world.arrived), len(world.store.content)) == ((0, 1) if spared else (1, 0))
        world.exchange.refuse()

    run(scene)
