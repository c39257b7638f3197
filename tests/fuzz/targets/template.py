"""Both ends of what a supervisor and a template tell each other: an app controls the template.

Each line of an input is a message.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import NoReturn
from unittest.mock import patch

from sockact.process.child_handle import ChildHandle, ChildSockets
from sockact.protocols.template_messages import MESSAGE_LIMIT, ForkAnswer, ForkRequest
from sockact.supervisor.fleet.orders import Spawn
from sockact.supervisor.templates import TemplateEvents, TemplateLink, WantedWorker
from sockact.untrusted import ancillary
from sockact.worker import template
from tests.fuzz import loops
from tests.fuzz.descriptors import Descriptors
from tests.fuzz.oracle import Broken
from tests.unit.supervisor.test_templates import FakeChild, Said

DICTIONARY = (
    *(
        b"FORK 7 0 a:b /run/x",
        b"FORKED 7 ",
        b"FAILED 7 ",
        b"FORK ",
        b"7",
        b"8",
        b" ",
        b":",
        b"\n",
        b"\xff",
        b"\0",
        b"\x1b[",
    ),
    *(b"9" * 19, b"9" * 30, b"999999999", b"1", b"0", b"-1", b"01", b"\xd9\xa3", b"x" * 200),
)


def target(data: bytes) -> None:
    """Read messages, and let a template and its supervisor have them."""
    messages = [line for line in data.split(b"\n") if line][:8]
    for message in messages:
        _check_same(message)
    _to_template(messages)
    with patch("sockact.supervisor.templates.Child", FakeChild):
        loops.run(_to_supervisor(messages))


def _check_same(message: bytes) -> None:
    request, answer = ForkRequest.from_bytes(message), ForkAnswer.from_bytes(message)
    if request is not None and ForkRequest.from_bytes(bytes(request)) != request:
        raise Broken(f"{request} is written as {bytes(request)!r}")
    if answer is not None:
        again = ForkAnswer.from_bytes(bytes(answer))
        if again is None or again[:2] != answer[:2] or not answer.error.isprintable():
            raise Broken(f"{answer} is written as {bytes(answer)!r}")


def _refuse() -> NoReturn:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _to_template(messages: list[bytes]) -> None:
    """Let a template have requests, of which the kernel refuses each fork."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    served = template.Template.__new__(template.Template)
    with ours, theirs, Descriptors() as made, patch.object(template, "_fork", _refuse):
        ours.setblocking(False)
        for number, message in enumerate(messages):
            socket.send_fds(ours, [message], made.keep("uf"[: number % 3]))
            if served._answer(theirs):
                raise Broken("a template takes itself for a worker")
            expected = ForkRequest.from_bytes(message[:MESSAGE_LIMIT])
            try:
                answer = ForkAnswer.from_bytes(ours.recv(MESSAGE_LIMIT))
            except BlockingIOError:
                answer = None
            if (answer is None) != (expected is None) or (answer and answer.pid):
                raise Broken(f"{message!r} is answered by {answer}")


async def _to_supervisor(messages: list[bytes]) -> None:
    """Let a supervisor that waits for workers have answers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forked: list[int] = []
    failed: list[int] = []

    def on_forked(spawn: Spawn, handle: ChildHandle) -> None:
        forked.append(spawn.worker)
        handle.close()

    events = TemplateEvents(
        on_forked=on_forked,
        on_failed=lambda worker, _: failed.append(worker),
        on_extension=lambda *_: None,
        on_end=lambda _: None,
        on_idle=lambda: None,
    )
    link = TemplateLink(1, None, ours, list, events, lambda *_: None)  # type: ignore[arg-type]
    for worker in (7, 8):
        link.add(WantedWorker(Spawn(worker, 1), 0, ChildSockets(), []))
    link.child.heard(Said(READY="1"))  # type: ignore[attr-defined]
    await _answer(theirs, messages)
    link.close("it has ended")
    await asyncio.sleep(0)
    if forked or sorted(failed) != [7, 8]:
        raise Broken(f"forked {forked}, failed {failed}")


async def _answer(theirs: socket.socket, messages: list[bytes]) -> None:
    """Send messages as a template, and let what it was sent go."""
    with theirs:
        for message in messages:
            theirs.send(message)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        theirs.setblocking(False)
        for _ in (7, 8):
            try:
                ancillary.read(theirs, MESSAGE_LIMIT)
            except BlockingIOError:
                break
