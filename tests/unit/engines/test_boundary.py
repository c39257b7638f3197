"""The boundary at which connections move: whatever comes in whatever pieces, the client sees one server."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.handover.transfer import HandoverSender

LIMIT = 20.0
"""Seconds that a test waits before it gives up."""

GET = b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /%d HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
)
Requests = Sequence[tuple[bytes, bool]]
LAST = b"GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what hypothesis stores out of the checkout."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
    yield
    set_hypothesis_home_dir(None)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with path and body; every third request some turns later, every other one in two parts."""
    number = int(scope["path"][1:])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    for _ in range(5 * (number % 3 == 0)):
        await asyncio.sleep(0)
    text = b"%d:%s" % (number, body)
    headers = [] if number % 2 else [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text[:2], "more_body": True})
    await send({"type": "http.response.body", "body": text[2:]})


class Chain:
    """Engines, each of which gives its connections to the newest when it drains."""

    def __init__(self) -> None:
        self.engines: list[HttpEngine] = []
        self.moves = 0

    async def begin(self) -> None:
        """Start another engine, and let the one before it drain."""
        engine = HttpEngine(app, "asgi3", [], Settings(linger=LIMIT, lifespan="off", access_log=False))
        await engine.start()
        self.engines.append(engine)
        if len(self.engines) > 1:
            before = self.engines[-2]
            sender = HandoverSender(self._move, confirms=False)
            sender.limit(1)
            before.give_to(sender)
            before.stop_accepting()

    def _move(self, descriptors: Sequence[int]) -> bool:
        for fd in descriptors:
            connection = socket.socket(fileno=os.dup(fd))
            connection.setblocking(False)
            self.engines[-1].receive(connection)
            self.moves += 1
        return True


async def converse(chunks: Sequence[bytes], turns: Sequence[int], *, move: bool) -> tuple[bytes, int]:
    """Send `chunks` on one connection, each after some turns of the loop.

    Args:
        chunks: what is sent.
        turns: how many turns of the loop follow each of them.
        move: whether another engine takes over after each of them.

    Returns:
        All that the client has received, and how many times its connection has moved.
    """
    chain = Chain()
    await chain.begin()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    chain.engines[0].receive(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        for chunk, count in zip(chunks, turns, strict=True):
            writer.write(chunk)
            for _ in range(count):
                await asyncio.sleep(0)
            if move:
                await chain.begin()
        async with asyncio.timeout(LIMIT):
            received = await reader.read()
    finally:  # what a fault leaves open as well: uvloop's close may wait for it without an end
        writer.transport.abort()
        for engine in chain.engines:
            await engine.abort()
        await asyncio.sleep(0)
    return re.sub(rb"date: [^\r]*\r\n", b"", received), chain.moves


def run(chunks: Sequence[bytes], turns: Sequence[int], *, move: bool) -> tuple[bytes, int]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(converse(chunks, turns, move=move))


def split(requests: Requests, cuts: Sequence[int]) -> list[bytes]:
    """Number the requests, add the last one, and cut all of it into chunks.

    Args:
        requests: each with whether a chunk begins with it.
        cuts: where others begin, as any numbers.
    """
    numbered = [request % number for number, (request, _) in enumerate(requests)]
    data = b"".join(numbered) + LAST
    whole = {len(b"".join(numbered[:number])) for number, (_, first) in enumerate(requests) if first}
    ends = sorted((whole | {cut % len(data) for cut in cuts}) - {0})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


CONVERSATIONS = given(
    requests=st.lists(
        st.tuples(st.sampled_from([GET, POST, CHUNKED]), st.booleans()), min_size=1, max_size=6
    ),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
    pauses=st.lists(st.integers(0, 20), min_size=11, max_size=11),
)
QUIETLY = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def compare(requests: Requests, cuts: Sequence[int], pauses: Sequence[int]) -> int:
    """Fail unless many engines answer as one does; return how many times the connection has moved."""
    chunks = split(requests, cuts)

    expected, _ = run([b"".join(chunks)], [0], move=False)
    received, moves = run(chunks, pauses[: len(chunks)], move=True)

    assert expected.count(b"HTTP/1.1 200") == len(requests) + 1
    assert received == expected
    return moves


@pytest.mark.slow
def test_responses_are_those_of_one_process() -> None:
    moves: list[int] = []

    @QUIETLY
    @CONVERSATIONS
    def whatever(requests: Requests, cuts: list[int], pauses: list[int]) -> None:
        moves.append(compare(requests, cuts, pauses))

    whatever()
    assert sum(moves) > len(moves) / 2
