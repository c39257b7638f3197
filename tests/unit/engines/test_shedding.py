"""Connections that leave an engine which serves on: which of them, and when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import uvloop

from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.engines.http.shedding import spaced
from sockact.handover.transfer import HandoverSender
from tests.support.in_process import settle, until

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: test\r\n\r\n"


class World:
    """An engine with clients, and a manager that takes connections or refuses them."""

    def __init__(self) -> None:
        self.sender = HandoverSender(self._offered, confirms=True)
        self.sender.lasting = True
        self.engine = HttpEngine(self._app, "asgi3", [], Settings(linger=0.1, lifespan="off"))
        self.engine.give_to(self.sender)
        self.offered = 0
        self.takes = True
        self.gate = asyncio.Event()
        self.opened = contextlib.ExitStack()

    def _offered(self, descriptors: Sequence[int]) -> bool:
        self.offered += len(descriptors)
        taken = len(descriptors) if self.takes else 0
        asyncio.get_running_loop().call_soon(self.sender.taken, taken)
        return True

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        if scope["path"] == "/hold":
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def client(self, data: bytes = REQUEST) -> socket.socket:
        """Return a client whose request, if any, was answered, unless it is held."""
        ours, theirs = socket.socketpair()
        self.opened.enter_context(ours)
        ours.setblocking(False)
        theirs.setblocking(False)
        self.engine.receive(theirs)
        await settle()
        if data:
            await self.ask(ours, data, answered=data == REQUEST)
        return ours

    async def ask(self, client: socket.socket, data: bytes, *, answered: bool = True) -> None:
        before = self.engine.requests
        client.sendall(data)
        if answered:
            assert (await asyncio.get_running_loop().sock_recv(client, 4096)).startswith(b"HTTP/1.1 204")
        elif data == HOLD:
            await until(lambda: self.engine.requests > before)
        await settle()

    async def close(self) -> None:
        self.gate.set()
        self.engine.stop_accepting()
        self.opened.close()
        await self.engine.wait_drained()


Scene = Callable[[World], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Iterator[Callable[[Scene], None]]:
    """Give the function that plays a scene in an event loop."""

    async def played(scene: Scene) -> None:
        world = World()
        await world.engine.start()
        try:
            await scene(world)
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda scene: runner.run(played(scene))


def test_idle_connections_leave(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        for _ in range(5):
            await world.client()
        assert world.engine.shed(3) == 3
        await until(lambda: world.engine.connections == 2)

        assert world.offered == 3

    play(scene)


def test_a_connection_on_which_nothing_has_come_yet_leaves_too(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.client(b"")
        assert world.engine.shed(3) == 1
        await until(lambda: world.engine.connections == 0)

    play(scene)


@pytest.mark.parametrize("data", [HOLD, HOLD[:20]], ids=["a request in flight", "a part of a head"])
def test_a_connection_stays_with(data: bytes, play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        client = await world.client(data)
        assert world.engine.shed(1) == 0
        await settle()
        assert world.offered == 0

        world.gate.set()
        if data != HOLD:
            world.engine.shed(0)  # else it would go after this response
            await world.ask(client, HOLD[20:])
            assert world.engine.connections == 1

    play(scene)


def test_if_too_few_are_idle_the_next_ones_leave_after_their_responses(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        clients = [await world.client(HOLD) for _ in range(3)]
        assert world.engine.shed(2) == 0
        world.gate.set()
        for client in clients:
            received = await asyncio.get_running_loop().sock_recv(client, 4096)
            assert received.startswith(b"HTTP/1.1 204")
            assert b"close" not in received
        await until(lambda: world.engine.connections == 1)

        assert world.offered == 2

    play(scene)


def test_later_ones_stay(play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockact.engines.http.shedding.OWED", 0.01)

    async def scene(world: World) -> None:
        client = await world.client(HOLD)
        world.engine.shed(1)
        await until(lambda: world.engine._shared.owed == 0)
        world.gate.set()
        await asyncio.get_running_loop().sock_recv(client, 4096)
        await settle()

        assert (world.offered, world.engine.connections) == (0, 1)

    play(scene)


def test_a_connection_that_nobody_takes_is_served_further(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.takes = False
        client = await world.client()
        for _ in range(3):
            assert world.engine.shed(1) == 1
            await settle()
            await world.ask(client, REQUEST)
        assert world.offered == 3
        assert world.sender.room > 0

        world.takes = True
        world.engine.shed(1)
        await until(lambda: world.engine.connections == 0)

    play(scene)


def test_one_that_is_refused_when_the_drain_has_begun_lingers(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.takes = False
        client = await world.client()
        world.engine.shed(1)
        world.sender.lasting = False
        world.engine.stop_accepting()
        client.sendall(REQUEST)
        received = await asyncio.get_running_loop().sock_recv(client, 4096)

        assert b"connection: close" in received

    play(scene)


def test_nothing_is_shed_in_a_drain(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.takes = False
        await world.client(HOLD)
        world.engine.stop_accepting()
        assert world.engine.shed(1) == 0
        assert world.engine._shared.owed == 0

    play(scene)


def test_those_that_leave_stand_for_all() -> None:
    assert spaced(list(range(10)), 5) == [1, 3, 5, 7, 9]
    assert spaced(list(range(10)), 3) == [1, 5, 8]
    assert spaced(list(range(10)), 1) == [5]
    assert spaced(list(range(10)), 0) == []
    assert spaced(list(range(3)), 7) == [0, 1, 2]
    assert spaced([], 7) == []
    for size in range(1, 30):
        for count in range(size + 1):
            assert len(set(spaced(list(range(size)), count))) == count
