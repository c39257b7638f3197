"""One raw connection with its handler, in one process."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from fcntl import ioctl
from termios import TIOCOUTQ

from sockact.engines.handlers.conversations import Asynchronous
from sockact.handover.envelope import Handover, unseal
from sockact.handover.transfer import HandoverSender
from tests.support.manager import LIMIT

FAR = 100 * LIMIT
"""Seconds of lingering that no test waits for."""


async def serve_one_message(drain_after: int) -> bytes:
    """Answer a message, begin the drain that many turns of the loop later; return the state given away."""
    loop = asyncio.get_running_loop()
    given = []

    def store(descriptors: Sequence[int]) -> bool:
        given.extend(os.dup(fd) for fd in descriptors)
        return True

    def drain_in(turns: int) -> None:
        if turns:
            loop.call_soon(drain_in, turns - 1)
        else:
            conversation.drain()

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, state: bytes = b"0"
    ) -> Handover:
        message = await reader.readexactly(1)
        writer.write(message)
        drain_in(drain_after)
        return Handover(b"%d" % (int(state) + 1))

    sender = HandoverSender(store, confirms=False)
    sender.limit(1)
    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        conversation = Asynchronous(handler, server, None, FAR, lambda: sender, takes_state=True)
        client.send(b"x")
        await asyncio.wait_for(conversation.hold(), LIMIT)
    (envelope,) = (socket.socket(fileno=fd) for fd in given)
    connection, carried = unseal(envelope)
    connection.close()
    return carried.state or b""


def test_a_drain_that_begins_between_two_messages_moves_the_connection_at_once() -> None:
    for turns in range(5):
        assert asyncio.run(serve_one_message(turns)) == b"1", turns


async def say_goodbye_late() -> bytes:
    """Show the reader the end, send more then, and return all that the handler says after it."""
    ended, sent = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        await sent.wait()
        writer.write(b"goodbye")

    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        conversation = Asynchronous(handler, server, None, 0.0, lambda: None, takes_state=False)
        holding = asyncio.ensure_future(conversation.hold())
        reader, writer = await asyncio.open_connection(sock=client)
        conversation.drain()
        async with asyncio.timeout(LIMIT):
            await ended.wait()
            writer.write(b"too late")
            await wait_read(client)
            sent.set()
            said = await reader.read()
            await holding
        writer.close()
    return said


async def ask_in_a_drain_after_a_long_silence() -> bytes:
    """Return the answer to a message that comes when a drain has begun just now."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))

    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        conversation = Asynchronous(handler, server, None, FAR, lambda: None, takes_state=False)
        conversation._reader.last_activity -= 2 * FAR
        holding = asyncio.ensure_future(conversation.hold())
        conversation.drain()
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"x")
        async with asyncio.timeout(LIMIT):
            answer = await reader.read()
            await holding
        writer.close()
    return answer


def test_a_client_that_was_silent_for_long_may_say_something_more_in_a_drain() -> None:
    assert asyncio.run(ask_in_a_drain_after_a_long_silence()) == b"x"


async def wait_read(sock: socket.socket) -> None:
    """Wait until the other end has read all that was sent."""
    while struct.unpack("i", ioctl(sock, TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_what_comes_when_the_handler_has_seen_the_end_does_not_disturb_its_goodbye() -> None:
    assert asyncio.run(say_goodbye_late()) == b"goodbye"
