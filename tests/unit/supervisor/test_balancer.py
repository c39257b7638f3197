"""The balancer: which orders it sends to workers, by what it reads on the load board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sockact.protocols.load_board import OwnRow
from sockact.protocols.worker_messages import SupervisorOrder
from sockact.supervisor import balancer
from sockact.supervisor.balancer import HUNG, LOOKS, MOST_SHED, Balancer
from tests.support.in_process import until


class Links:
    """Stands for the exchange: hears the orders, and answers as workers do that run."""

    def __init__(self) -> None:
        self.orders: list[tuple[int, int]] = []
        self.rows: dict[int, OwnRow] = {}
        self.hung: set[int] = set()
        self.sent: dict[int, int] = {}
        self.beats = 0

    def order(self, worker: int, order: SupervisorOrder) -> bool:
        assert order.name == "BEAT"
        self.beats += 1
        if worker not in self.hung:
            self.rows[worker].beat()
        return True

    def shed(self, worker: int, count: int) -> bool:
        self.orders.append((worker, count))
        return True

    def under_way(self, worker: int, received: int) -> int:
        return self.sent.get(worker, 0) - received


class World:
    """A balancer with workers, the number of whose connections is given."""

    def __init__(self, *counts: int) -> None:
        self.links = Links()
        self.settled = True
        self.serving: list[int] = []
        exchange: Any = self.links  # stands for one
        self.balancer = Balancer(exchange, lambda: self.serving, lambda: self.settled)
        for count in counts:
            self.start(count)

    def start(self, connections: int, *, old: bool = False) -> int:
        number = len(self.serving) + 1
        passed = self.balancer.admit(number, 1)
        assert passed is not None
        if old:
            passed.close()
        else:
            row = OwnRow.passed(passed)
            assert row is not None
            row.note(connections)
            self.links.rows[number] = row
        self.serving.append(number)
        return number

    def answer(self, **seconds: float) -> None:
        """Have workers answer 40 requests each, in so many seconds."""
        for name, each in seconds.items():
            for _ in range(40):
                self.links.rows[int(name[1:])].answered(each)

    async def look(self) -> list[tuple[int, int]]:
        """Let it look until it does so no more; return the orders."""
        self.links.orders.clear()
        self.balancer.look_soon()
        await until(lambda: self.balancer._due is None)
        return sorted(self.links.orders)


Scene = Callable[[], Awaitable[None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Give the function that plays a scene, in which no time has to pass between two looks."""
    for name in ("FIRST_LOOK", "NEXT_LOOK", "BEAT_LOOK", "ADJUSTMENT"):
        monkeypatch.setattr(balancer, name, 0.0)
    return lambda scene: asyncio.run(scene())


def test_a_crowded_worker_is_told_to_hand_over(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(44, 19, 1, 0)
        assert await world.look() == [(1, 28), (2, 3)]  # once, though it looks again

    run(scene)


def test_an_even_load_is_left_alone(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(16, 17, 15, 16)
        assert await world.look() == []
        assert world.links.beats == 0

    run(scene)


def test_connections_that_are_under_way_count(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(16, 16, 16, 0)
        world.links.sent = {4: 16}
        assert await world.look() == []
        assert world.balancer.holding(4) == (16, 1.0)

    run(scene)


def test_nothing_moves_while_a_reload_is_under_way(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(44, 19, 1, 0)
        world.settled = False
        assert await world.look() == []
        world.settled = True
        assert await world.look() != []

    run(scene)


def test_a_hung_worker_receives_nothing(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(21, 21, 22, 0)
        world.links.hung = {4}
        assert await world.look() == []
        assert world.links.beats == 1
        load = world.balancer.holding(4)
        assert load is not None
        assert load.connections == HUNG

        world.links.hung = set()
        world.links.rows[4].beat()
        assert [worker for worker, _ in await world.look()] == [1, 2, 3]
        assert world.balancer.holding(4) == (0, 1.0)

    run(scene)


def test_it_does_not_look_for_ever_where_nothing_can_move(
    run: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancer, "SHED_TIME", 0.0)

    async def scene() -> None:
        world = World(40, 0)  # WebSockets, say
        assert 1 <= len(await world.look()) <= LOOKS

    run(scene)


def test_an_order_has_a_limit(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(10**9, 0)
        assert await world.look() == [(1, MOST_SHED)]

    run(scene)


def test_workers_of_older_code_are_left_alone(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(40)
        old = world.start(0, old=True)
        assert await world.look() == []
        assert world.balancer.holding(old) is None

    run(scene)


def test_workers_that_have_ended_do_not_count(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(16, 16, 0)
        world.serving.remove(3)
        world.balancer.forget(3)
        assert await world.look() == []
        assert world.balancer.holding(3) is None

    run(scene)


def test_a_slow_worker_hands_over_and_gets_fewer(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(16, 16, 16, 16)
        world.answer(w1=0.05, w2=0.005, w3=0.006, w4=0.004)
        world.balancer._known[1].slow = 10  # as it was at the look before
        orders = await world.look()

        assert [worker for worker, _ in orders] == [1]
        assert orders[0][1] >= 12
        load = world.balancer.holding(1)
        assert load is not None
        assert load.share < 0.2
        assert world.balancer.holding(2) == (16, 1.0)

    run(scene)


def test_a_worker_that_was_slow_once_keeps_its_connections(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(16, 16, 16, 16)
        world.answer(w1=0.05, w2=0.005, w3=0.006, w4=0.004)
        world.balancer._look()
        world.answer(w1=0.005)
        assert await world.look() == []
        assert world.balancer.holding(1) == (16, 1.0)

    run(scene)


def test_a_worker_that_is_no_longer_slow_gets_its_share_back(run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        world = World(20, 20, 20, 4)
        assert world.balancer._board is not None
        world.balancer._board.give_share(4, 0.2)
        assert await world.look() == []
        for _ in range(30):
            world.answer(w1=0.005, w2=0.005, w3=0.006, w4=0.004)
            world.balancer._look()

        assert world.balancer.holding(4) == (4, 1.0)
        assert {worker for worker, _ in world.links.orders} == {1, 2, 3}

    run(scene)


def test_without_memory_nothing_moves(
    run: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(balancer, "LoadBoard", none)

    async def scene() -> None:
        exchange: Any = Links()
        plain = Balancer(exchange, lambda: [1, 2], lambda: True)
        plain.look_soon()
        assert plain.admit(1, 1) is None
        assert plain.holding(1) is None
        plain.forget(1)
        plain.close()

    run(scene)
