"""WebSockets that move from engine to engine in one process: at every boundary, and where they cannot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop

from sockact.config.settings import Settings
from sockact.engines.handlers.stream import StreamEngine
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.websocket_carried import packed, unpacked
from sockact.handover.envelope import STATE_LIMIT, CarriedState, CarriedWebSocket, unseal
from sockact.system import loop_tasks
from tests.support.in_process import settle, until
from tests.support.moving import (
    BINARY,
    CLOSE,
    CONTINUED,
    HANDOVER,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Echo,
    Journey,
    deflated,
    frame,
    text,
)

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
RESTART = 1012
NORMAL_CLOSE = frame(CLOSE, b"\x03\xe8")
SOON = {"drain_timeout": 0.4}
"""An app has half of that to answer."""


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play a scene in each kind of loop."""
    for loop_factory in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(loop_tasks.main(scene()))


async def end(journey: Journey) -> None:
    """Close the WebSocket from the client's side."""
    journey.send(NORMAL_CLOSE)
    assert await journey.close_code() == 1000
    await journey.wait_drained()
    journey.close()


# At every boundary.


def test_the_next_app_is_called_with_the_state_and_the_client_sees_nothing() -> None:
    async def scene() -> None:
        echo = Echo({"subprotocol": "chat"})
        journey = Journey(echo)
        head = await journey.begin("Sec-WebSocket-Protocol: talk, chat", "X-Who: me")
        assert "Sec-WebSocket-Protocol: chat" in head
        for number in range(1, 20):
            journey.send(text("a"))
            assert await journey.said() == f"{number} a"
            await journey.move()

        first, *others = echo.scopes
        for scope in others:
            state = scope["extensions"].pop(HANDOVER)["state"]
            assert int(state) > 0
            assert scope["subprotocols"] == ["chat"]
            same = {**scope, "subprotocols": first["subprotocols"], "extensions": first["extensions"]}
            assert same == first
        assert (b"x-who", b"me") in first["headers"]
        assert first["extensions"] == {"websocket.http.response": {}, HANDOVER: {}}
        await end(journey)
        assert echo.ends == [1000]

    play(scene)


def streams() -> dict[str, tuple[str, bytes]]:
    """Return what a client sends, for each case: with the field of its handshake."""
    plain = [
        text("one"),
        frame(PING, b"!"),
        frame(TEXT, b"tw", more=True),
        frame(PING, b"?"),
        frame(CONTINUED, b"", more=True),
        frame(CONTINUED, b"o"),
        frame(BINARY, b"three"),
        frame(PONG, b"unasked"),
    ]
    four = deflated(b"four four four four")
    compressed = [
        frame(TEXT, four, compressed=True),
        frame(TEXT, four[:3], more=True, compressed=True),
        frame(PING, b"!"),
        frame(CONTINUED, four[3:5], more=True),
        frame(CONTINUED, four[5:]),
        text("plain"),
        frame(BINARY, four, compressed=True),
    ]
    return {"plain": ("X: y", b"".join(plain)), "compressed": (DEFLATE, b"".join(compressed))}


@pytest.mark.parametrize("case", streams())
def test_at_every_byte_nothing_is_lost_and_nothing_is_twice(case: str) -> None:
    field, data = streams()[case]
    count = 3 if case == "plain" else 4

    async def answers(cut: int | None) -> tuple[list[str], list[bytes]]:
        journey = Journey(Echo())
        await journey.begin(field)
        journey.send(data[:cut])
        if cut is not None:
            for _ in range(cut % 4):  # turns of the loop: it is read, or waits in the kernel
                await asyncio.sleep(0)
            await journey.move()
            journey.send(data[cut:])
        said, pongs = [], []
        while len(said) < count:
            opcode, found = await journey.read()
            if opcode == PONG:
                pongs.append(found)
            else:
                said.append(found.decode())
        await end(journey)
        return said, pongs

    async def scene() -> None:
        expected = await answers(None)
        assert len(expected[1]) == (2 if case == "plain" else 1)
        for cut in range(len(data) + 1):
            assert await answers(cut) == expected, cut

    play(scene)


def test_a_message_that_is_lost_would_be_seen_by_the_test_above() -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        journey.send(text("one") + frame(TEXT, b"tw", more=True))
        assert await journey.said() == "1 one"
        await journey.drained()
        connection, carried = unseal(journey.manager.stored.pop())
        assert isinstance(carried, CarriedWebSocket)
        connection.setblocking(False)
        moved = unpacked(carried.content, math.inf)
        assert len(moved.unread) == len(frame(TEXT, b"tw"))
        await journey.start()
        journey.engine.receive(connection, CarriedWebSocket(packed(moved._replace(unread=b""))))
        journey.send(frame(CONTINUED, b"o"))

        assert await journey.close_code() == 1002
        journey.close()

    play(scene)


@pytest.mark.parametrize("field", ["X: y", DEFLATE])
def test_many_messages_in_one_burst_move_in_order(field: str) -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin(field)
        journey.send(b"".join(text(str(number)) for number in range(3000)))
        reading = asyncio.ensure_future(read_said(journey, 3000))
        for _ in range(10):
            await journey.move()

        assert await reading == [f"{number + 1} {number}" for number in range(3000)]
        await end(journey)

    play(scene)


async def read_said(journey: Journey, count: int) -> list[str]:
    return [await journey.said() for _ in range(count)]


@pytest.mark.parametrize("more", [False, True], ids=["frame", "fragments"])
def test_half_of_a_long_message_moves(more: bool) -> None:
    data = bytes(range(32, 127)) * (LONG // 95)
    half = len(data) // 2
    whole = frame(TEXT, data)
    parts = [whole[:half], whole[half:]]
    if more:
        parts = [frame(TEXT, data[:half], more=True), frame(CONTINUED, data[half:])]

    async def scene() -> None:
        journey = Journey(Echo())
        loop = asyncio.get_running_loop()
        await journey.begin()
        await loop.sock_sendall(journey.client, parts[0])
        await journey.move()
        await loop.sock_sendall(journey.client, parts[1])

        assert await journey.said() == f"1 {data.decode()}"
        await end(journey)

    play(scene)


LONG = 1_000_000


def test_a_ping_of_ours_may_be_answered_in_the_next_process() -> None:
    async def scene() -> None:
        journey = Journey(Echo(), websocket_ping_interval=0.02, websocket_ping_timeout=5.0)
        await journey.begin()
        opcode, first = await journey.read()
        assert opcode == PING
        await journey.move()
        journey.send(frame(PONG, first) + text("a"))

        found = [await journey.read(), await journey.read()]
        pings = [data for opcode, data in found if opcode == PING]
        assert (TEXT, b"1 a") in found
        assert len(pings) == 1
        assert pings != [first]
        journey.send(frame(PONG, pings[0]))
        assert (await journey.read())[0] == PING  # answered, so that there is another one
        journey.send(NORMAL_CLOSE)
        journey.close()
        await journey.wait_drained()

    play(scene)


def test_what_the_app_sends_until_it_answers_arrives_before_the_connection_moves() -> None:
    part = 4096 * "x"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        number = int(scope["extensions"][HANDOVER].get("state", b"0"))
        while (await receive())["type"] != HANDOVER:
            pass
        for more in range(500):
            await send({"type": "websocket.send", "text": f"{number + more} {part}"})
        await send({"type": HANDOVER, "state": b"%d" % (number + 500)})

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        reading = asyncio.ensure_future(read_said(journey, 1500))
        for _ in range(3):
            await journey.move()

        assert [int(said.partition(" ")[0]) for said in await reading] == list(range(1500))
        journey.close()

    play(scene)


def test_an_app_may_go_on_receiving_until_it_answers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        seen = scope["extensions"][HANDOVER].get("state", b"").decode()
        asked = False
        while not (asked and seen.endswith(".")):
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            asked = asked or event["type"] == HANDOVER
            if event["type"] == "websocket.receive":
                seen += event["text"]
                await send({"type": "websocket.send", "text": seen})
        await send({"type": HANDOVER, "state": seen.encode()})

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        journey.engine.stop_accepting()
        journey.send(text("a"))
        assert await journey.said() == "a"  # with the question before it
        journey.send(text(".") + text("b") + text("c"))
        assert await journey.said() == "a."
        await journey.wait_drained()
        await journey.arrive()

        assert [await journey.said(), await journey.said()] == ["a.b", "a.bc"]
        journey.close()
        await journey.wait_drained()

    play(scene)


def test_another_task_of_the_app_that_waits_to_send_cannot_send_after_the_answer() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        if "state" in scope["extensions"][HANDOVER]:
            await send({"type": "websocket.send", "text": "the end"})
            return
        tasks.append(asyncio.ensure_future(send_for_ever(send)))
        assert (await receive())["type"] == HANDOVER
        await send({"type": HANDOVER, "state": b""})

    async def send_for_ever(send: Any) -> None:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(100_000)})

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        reading = asyncio.ensure_future(read_up_to_text(journey))
        await journey.move()

        assert await reading == "the end"
        assert isinstance(tasks.pop().exception(), RuntimeError)
        journey.close()
        await journey.wait_drained()

    play(scene)


async def read_up_to_text(journey: Journey) -> str:
    """Read whole frames up to a text."""
    while (found := await journey.read()) == (BINARY, bytes(100_000)):
        pass
    return found[1].decode()


# The closing handshake.


def test_a_close_frame_that_comes_when_the_app_has_answered_is_answered_by_the_next_process() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.begin()
        journey.engine.stop_accepting()
        journey.send(text("last") + frame(CLOSE, b"\x0f\xa1bye"))
        await journey.wait_drained()
        if journey.manager.stored:
            await journey.arrive()
        assert await journey.close_code() == 4001  # which the echo does not overtake
        await journey.wait_drained()
        assert {"type": "websocket.receive", "text": "last"} in echo.told
        journey.close()

    play(scene)


def test_a_websocket_that_closes_does_not_move() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        await send({"type": "websocket.close", "code": 4000})
        assert (await receive())["type"] == "websocket.disconnect"

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        assert await journey.close_code() == 4000
        await journey.drained()

        assert journey.manager.stored == []
        journey.close()

    play(scene)


def test_messages_before_the_end_of_the_client_are_received_by_the_next_app() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.begin()
        await journey.drained()
        journey.send(text("a") + text("b"))
        journey.client.shutdown(socket.SHUT_WR)
        await journey.arrive()
        await journey.wait_drained()

        told = [event for event in echo.told if event["type"] != "websocket.connect"]
        kinds = [event["type"].partition(".")[2] for event in told]
        assert kinds == ["handover", "receive", "receive", "disconnect"]
        assert echo.ends == [1006]
        journey.close()

    play(scene)


def test_the_next_app_is_told_that_its_client_has_gone() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.begin()
        await journey.drained()
        journey.client.close()
        await journey.arrive()
        await journey.wait_drained()

        assert echo.ends == [1006]

    play(scene)


# What is negotiated, and counted.


@pytest.mark.parametrize("wanted", [True, False])
def test_compression_takes_no_context_over_only_where_the_app_wants_to_move(wanted: bool) -> None:
    async def scene() -> None:
        journey = Journey(Echo({HANDOVER: wanted}))
        head = await journey.begin(DEFLATE)

        for name in ("server_no_context_takeover", "client_no_context_takeover"):
            assert (name in head) == wanted
        await end(journey)

    play(scene)


def test_a_websocket_is_counted_in_the_process_that_has_it_and_as_a_request_once() -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        old = journey.engine
        assert (old.requests, old.in_flight, old.connections) == (1, 1, 1)
        await journey.move()
        journey.send(text("a"))
        await journey.said()

        assert (old.requests, old.in_flight, old.connections) == (1, 0, 0)
        new = journey.engine
        assert (new.requests, new.in_flight, new.connections) == (0, 1, 1)
        await end(journey)
        assert (new.in_flight, new.connections) == (0, 0)

    play(scene)


# Where it cannot move.


def test_without_a_process_that_takes_it_the_app_is_not_asked() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.begin()
        journey.manager.sender.limit(0)  # as in a stop
        journey.engine.stop_accepting()

        assert await journey.close_code() == RESTART
        journey.send(frame(CLOSE, b"\x03\xf4"))
        await journey.wait_drained()
        assert [event["type"] for event in echo.told] == ["websocket.connect", "websocket.disconnect"]
        journey.close()

    play(scene)


def test_an_app_that_does_not_want_to_move_is_not_asked() -> None:
    async def scene() -> None:
        echo = Echo({HANDOVER: False})
        journey = Journey(echo)
        await journey.begin()
        journey.engine.stop_accepting()

        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        assert [event["type"] for event in echo.told] == ["websocket.connect", "websocket.disconnect"]
        journey.close()

    play(scene)


def test_without_handover_there_is_no_extension() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.start()
        journey.engine._shared.sender = None
        journey._server.setblocking(False)
        journey.start = nothing  # type: ignore[method-assign]
        head = await journey.begin(DEFLATE)

        assert HANDOVER not in echo.scopes[0]["extensions"]
        assert "no_context_takeover" not in head
        journey.engine.stop_accepting()
        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        journey.close()

    play(scene)


async def nothing() -> None:
    pass


def test_on_a_connection_that_must_stay_there_is_no_extension() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.start()
        journey._server.setblocking(False)
        journey.engine._arrive(partial(HttpConnection, journey.engine._shared, stays=True), journey._server)
        journey.send(f"{UPGRADE}\r\n".encode())
        await journey.read_until(b"\r\n\r\n")

        assert HANDOVER not in echo.scopes[0]["extensions"]
        journey.engine.stop_accepting()
        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        journey.close()

    play(scene)


def test_messages_that_no_process_takes_are_all_received_here() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo, websocket_grace=60.0, drain_timeout=120.0)
        await journey.begin()
        journey.manager.takes = False
        journey.send(b"".join(text(str(number)) for number in range(3000)))
        reading = asyncio.ensure_future(read_said(journey, 3000))
        await until(lambda: len(echo.told) > 500)
        journey.engine.stop_accepting()

        assert await reading == [f"{number + 1} {number}" for number in range(3000)]
        await end(journey)
        assert len(echo.scopes) == 2

    play(scene)


@pytest.mark.parametrize("grace", [0.0, 60.0])
def test_what_no_process_takes_goes_on_here_for_its_grace(grace: float) -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo, websocket_grace=grace, drain_timeout=120.0)
        await journey.begin()
        journey.send(text("a") + frame(TEXT, b"ha", more=True))
        assert await journey.said() == "1 a"
        journey.manager.takes = False
        journey.engine.stop_accepting()
        await until(lambda: len(echo.scopes) == 2)
        journey.send(frame(CONTINUED, b"lf"))
        if grace:
            assert await journey.said() == "2 half"
            await end(journey)
            assert echo.ends == [1000]
        else:
            assert await journey.close_code() == RESTART
            journey.send(frame(CLOSE, b"\x03\xf4"))
            await journey.wait_drained()
            assert echo.ends == [RESTART]
        assert echo.scopes[1]["extensions"][HANDOVER] == {"state": b"1"}
        assert [event["type"] for event in echo.told].count(HANDOVER) == 1
        journey.close()

    play(scene)


def test_an_app_that_has_not_answered_when_nobody_takes_any_more_gets_1012_at_once() -> None:
    async def scene() -> None:
        told: list[Any] = []
        journey = Journey(deaf(told), drain_timeout=None)
        await journey.begin()
        journey.engine.stop_accepting()
        await until(lambda: HANDOVER in [event["type"] for event in told])
        journey.manager.sender.limit(0)

        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        journey.close()

    play(scene)


def deaf(told: list[Any]) -> Any:
    """Return an app that wants to move, and never answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append(await receive())
        await send({"type": "websocket.accept", HANDOVER: True})
        while told[-1]["type"] != "websocket.disconnect":
            told.append(await receive())
            if told[-1]["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": told[-1]["text"]})

    return app


def test_an_app_that_does_not_answer_is_served_until_it_gets_1012() -> None:
    async def scene() -> None:
        told: list[Any] = []
        journey = Journey(deaf(told), **SOON)
        await journey.begin()
        journey.engine.stop_accepting()
        journey.send(text("still here"))

        assert await journey.said() == "still here"
        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        assert journey.manager.stored == []
        assert told[-1]["code"] == RESTART
        journey.close()

    play(scene)


def test_an_app_that_answers_and_does_not_return_gets_1012() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        assert (await receive())["type"] == HANDOVER
        await send({"type": HANDOVER, "state": b""})
        assert (await receive())["type"] == "websocket.disconnect"

    async def scene() -> None:
        journey = Journey(app, **SOON)
        await journey.begin()
        journey.engine.stop_accepting()

        assert await journey.close_code() == RESTART
        await journey.wait_drained()
        assert journey.manager.stored == []
        journey.close()

    play(scene)


def test_an_app_that_returns_without_an_answer_is_closed_as_ever() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        await receive()

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        journey.engine.stop_accepting()

        assert await journey.close_code() == 1000
        await journey.wait_drained()
        assert journey.manager.stored == []
        journey.close()

    play(scene)


def answering(*answers: Any) -> Any:
    """Return an app that gives these answers, one after the other; its last message is what they raised."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        if "state" in scope["extensions"][HANDOVER]:
            await send({"type": "websocket.send", "bytes": scope["extensions"][HANDOVER]["state"]})
            return
        raised = []
        while (await receive())["type"] == "websocket.receive":
            await raise_into(raised, send({"type": HANDOVER, "state": b"too early"}))
            await send({"type": "websocket.send", "text": "not yet"})
        for answer in answers:
            await raise_into(raised, send({"type": HANDOVER, "state": answer}))
        await raise_into(raised, send({"type": HANDOVER, "state": " ".join(raised).encode()}))
        await raise_into(raised, send({"type": "websocket.send", "text": "too late"}))
        assert raised[-1] == "RuntimeError"

    return app


async def raise_into(raised: list[str], sending: Awaitable[None]) -> None:
    try:
        await sending
    except (ValueError, TypeError, RuntimeError) as error:
        raised.append(type(error).__name__)


def test_a_wrong_answer_raises_and_may_be_followed_by_a_right_one() -> None:
    async def scene() -> None:
        journey = Journey(answering("text", None, bytes(STATE_LIMIT + 1)))
        await journey.begin()
        journey.send(text("answer"))
        assert await journey.said() == "not yet"
        await journey.move()

        assert await journey.read() == (BINARY, b"RuntimeError TypeError TypeError ValueError")
        journey.close()
        await journey.wait_drained()

    play(scene)


def test_the_longest_state_moves() -> None:
    async def scene() -> None:
        journey = Journey(answering(bytes(STATE_LIMIT)))
        await journey.begin()
        await journey.move()

        assert await journey.read() == (BINARY, bytes(STATE_LIMIT))
        journey.close()
        await journey.wait_drained()

    play(scene)


def test_an_app_that_fails_after_its_answer_is_closed_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        await receive()
        await send({"type": HANDOVER, "state": b""})
        raise LookupError

    async def scene() -> None:
        journey = Journey(app)
        await journey.begin()
        journey.engine.stop_accepting()

        assert await journey.close_code() == 1011
        await journey.wait_drained()
        journey.close()

    play(scene)
    assert "the app has failed" in caplog.text


# The next process.


async def refuses(send: Any) -> None:
    await send({"type": "websocket.close", "code": 4003})


async def denies(send: Any) -> None:
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"who are you?"})


async def fails(send: Any) -> None:
    raise LookupError


async def returns(send: Any) -> None:
    pass


async def forgets(send: Any) -> None:
    await send({"type": "websocket.accept"})


async def prefers(send: Any) -> None:
    await send({"type": "websocket.accept", "subprotocol": "talk", HANDOVER: True})


@pytest.mark.parametrize(
    ("does", "code"),
    [
        (refuses, 4003),
        (denies, RESTART),
        (fails, 1011),
        (returns, 1011),
        (forgets, RESTART),
        (prefers, RESTART),
    ],
)
def test_an_app_that_does_not_accept_it_again_closes_it(does: Callable[[Any], Any], code: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await does(send)

    async def scene() -> None:
        journey = Journey(Echo({"subprotocol": "chat"}))
        await journey.begin("Sec-WebSocket-Protocol: talk, chat")
        await journey.move(app)

        assert await journey.close_code() == code
        journey.send(frame(CLOSE, code.to_bytes(2)))
        assert await journey.at_eof()
        await journey.wait_drained()
        journey.close()

    play(scene)


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("it is not called")


def test_a_wsgi_app_closes_it_with_1012_in_good_order() -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        await journey.move(wsgi_app, "wsgi")
        journey.send(text("still sending"))

        assert await journey.close_code() == RESTART
        journey.send(frame(CLOSE, b"\x03\xf4"))
        assert await journey.at_eof()
        journey.close()
        await settle()

    play(scene)


def test_a_handler_of_streams_closes_it_with_1012_and_is_not_called() -> None:
    called: list[Any] = []

    async def handler(reader: Any, writer: Any, *, state: bytes = b"") -> None:
        called.append(state)

    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        await journey.drained()
        engine = StreamEngine(handler, "stream", [], Settings(linger=0.2))
        connection, carried = unseal(journey.manager.stored.pop())
        connection.setblocking(False)
        engine.receive(connection, carried)

        assert await journey.close_code() == RESTART
        journey.client.shutdown(socket.SHUT_WR)
        assert await journey.at_eof()
        await engine.close()
        journey.close()

    play(scene)
    assert called == []


def test_the_state_of_a_stream_handler_is_no_websocket() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.start()
        journey._server.setblocking(False)
        journey.engine.receive(journey._server, CarriedState(b"state", b"unread"))

        assert await journey.at_eof()
        assert echo.scopes == []
        journey.close()

    play(scene)


def test_content_that_cannot_be_read_closes_it_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        await journey.drained()
        connection, _ = unseal(journey.manager.stored.pop())
        connection.setblocking(False)
        await journey.start()
        journey.engine.receive(connection, CarriedWebSocket(b"\x02 of the future"))

        assert await journey.close_code() == RESTART
        assert await journey.at_eof()
        journey.close()
        await settle()

    with caplog.at_level(logging.WARNING):
        play(scene)
    assert caplog.text.count("closed with 1012: its content is of version 02: expected 01") == 2


WRONG = ((frame(TEXT, b"\xff"), 1007), (frame(3, b""), 1002), (frame(BINARY, bytes(101)), 1009))
"""Frames, and the codes with which they are refused where a message has at most 100 bytes."""


def test_wrong_frames_are_refused_by_the_next_process_as_by_any() -> None:
    async def scene() -> None:
        for data, code in (
            (frame(TEXT, b"\xff"), 1007),
            (frame(3, b""), 1002),
            (frame(BINARY, bytes(101)), 1009),
        ):
            journey = Journey(Echo(), websocket_max_message=100)
            await journey.begin()
            journey.send(data[:1])
            await journey.move()
            journey.send(data[1:])

            assert await journey.close_code() == code
            journey.close()
            await journey.wait_drained()

    play(scene)


# Several drains.


def test_a_process_that_drains_already_hands_it_on_at_once() -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        journey.send(text("a"))
        assert await journey.said() == "1 a"
        for _ in range(3):
            await journey.drained()
            stored = journey.manager.stored
            await journey.start()
            journey.engine.stop_accepting()
            for envelope in stored:
                connection, carried = unseal(envelope)
                connection.setblocking(False)
                journey.engine.receive(connection, carried)
            await journey.wait_drained()
        await journey.arrive()
        journey.send(text("b"))

        assert await journey.said() == "2 b"
        await end(journey)

    play(scene)


def test_a_second_look_at_the_drain_asks_no_second_time() -> None:
    async def scene() -> None:
        echo = Echo()
        journey = Journey(echo)
        await journey.begin()
        journey.engine.stop_accepting()
        journey.engine._drain_connections()
        await journey.wait_drained()

        assert [event["type"] for event in echo.told] == ["websocket.connect", HANDOVER]
        await journey.arrive()
        journey.send(text("a"))
        assert await journey.said() == "1 a"
        await end(journey)

    play(scene)


def test_an_abort_does_not_hang_up_on_a_client_that_another_process_may_have() -> None:
    async def scene() -> None:
        journey = Journey(Echo())
        await journey.begin()
        given: list[socket.socket] = []

        def keep(descriptors: Any) -> bool:
            given.extend(socket.socket(fileno=socket.dup(fd)) for fd in descriptors)
            return True  # and never say whether they were taken

        journey.manager.sender._store = keep
        journey.engine.stop_accepting()
        await until(lambda: bool(given))
        await journey.engine.abort()
        await journey.wait_drained()

        journey.manager.stored = given
        await journey.arrive()
        journey.send(text("a"))
        assert await journey.said() == "1 a"
        await end(journey)

    with contextlib.suppress(asyncio.CancelledError):
        play(scene)
