"""An acceptor that takes turns with other processes: it steps back, and never for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from sockact.sockets import acceptor
from sockact.sockets.acceptor import ACCEPTS_PER_TURN, Acceptor
from tests.support.in_process import settle, until
from tests.support.manager import listening


class Others:
    """Decides whether others are to take the next connection, and counts what it hears."""

    def __init__(self) -> None:
        self.less = False
        self.allowed = float("inf")
        self.patience = 4
        self.accepting = 0
        self.taken = 0
        self.asked = 0
        self.vain = 0

    def begin(self) -> None:
        self.accepting += 1

    def end(self) -> None:
        self.accepting -= 1

    def took(self) -> None:
        self.taken += 1

    def yields(self) -> bool:
        self.asked += 1
        return self.less

    def allowance(self) -> float:
        return self.allowed

    def wait(self) -> None: ...

    def waited_in_vain(self) -> int:
        self.vain += 1
        return self.patience


class World:
    """A listening socket with an acceptor, and clients."""

    def __init__(self) -> None:
        listener = listening()
        assert listener.sock is not None
        self.sock = listener.sock
        self.others = Others()
        self.room = True
        self.arrived: list[socket.socket] = []
        self.acceptor = Acceptor(self.sock, self.arrived.append, lambda: self.room, self.others)
        self.opened = contextlib.ExitStack()

    def connect(self, count: int = 1) -> None:
        for _ in range(count):
            self.opened.enter_context(socket.create_connection(self.sock.getsockname()))

    def close(self) -> None:
        self.acceptor.stop()
        for each in self.arrived:
            each.close()
        self.opened.close()
        self.sock.close()


Scene = Callable[[World], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Iterator[Callable[[Scene], None]]:
    """Give the function that plays a scene in an event loop."""

    async def played(scene: Scene) -> None:
        with contextlib.closing(World()) as world:
            await scene(world)

    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda scene: runner.run(played(scene))


def test_it_takes_what_comes_while_others_have_not_less(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.connect(3)
        await until(lambda: len(world.arrived) == 3)

        assert (world.others.taken, world.others.vain) == (3, 0)

    play(scene)


def test_another_process_takes_the_connection_while_it_steps_back(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "STEP_BACK", 0.2)

    async def scene(world: World) -> None:
        world.others.less = True
        world.connect()
        await until(lambda: world.others.asked == 1)
        world.sock.accept()[0].close()  # as the other one does
        await until(lambda: world.acceptor._later is None)

        assert world.arrived == []
        assert (world.others.vain, world.others.accepting) == (0, 1)
        world.others.less = False
        world.connect()
        await until(lambda: len(world.arrived) == 1)

    play(scene)


def test_it_takes_a_connection_that_nobody_else_has_taken(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.others.less = True
        world.connect()
        await until(lambda: len(world.arrived) == 1)

        assert world.others.vain == 1

    play(scene)


def test_it_takes_all_however_long_others_are_said_to_have_less(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.others.less = True
        world.connect(50)
        await until(lambda: len(world.arrived) == 50)

        # Each time at most one, and as many as it has the patience for.
        assert world.others.vain >= 50 / (1 + world.others.patience)

    play(scene)


def test_of_a_burst_it_takes_as_many_as_it_may_at_a_time(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.others.allowed = 2
        world.connect(7)
        await until(lambda: len(world.arrived) == 7)

        assert world.others.asked >= 4

    play(scene)


def test_however_many_it_may_take_the_others_get_some_too(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.others.patience = 1000
        world.others.less = True
        world.connect(3 * ACCEPTS_PER_TURN)
        await until(lambda: len(world.arrived) > 0)

        assert len(world.arrived) <= 1 + ACCEPTS_PER_TURN

    play(scene)


def test_a_stop_ends_a_step_back(play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "STEP_BACK", 0.2)

    async def scene(world: World) -> None:
        world.others.less = True
        world.connect()
        await until(lambda: world.others.asked == 1)
        later = world.acceptor._later
        world.acceptor.stop()

        assert later is not None
        assert later.cancelled()
        assert world.arrived == []
        assert world.others.accepting == 0
        world.acceptor.accept_waiting()
        assert len(world.arrived) == 1

    play(scene)


def test_others_do_not_wait_for_one_that_has_no_room(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.room = False
        world.connect()
        await until(lambda: world.others.accepting == 0)
        world.acceptor.resume()
        await settle()
        assert world.others.accepting == 0

        world.room = True
        world.acceptor.resume()
        await until(lambda: len(world.arrived) == 1)
        assert world.others.accepting == 1

    play(scene)


def test_it_has_no_room_after_a_step_back_either(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.others.less = True
        world.room = False
        world.connect()
        await until(lambda: world.others.accepting == 0)

        assert world.arrived == []
        world.room = True
        world.acceptor.resume()
        await until(lambda: len(world.arrived) == 1)

    play(scene)
