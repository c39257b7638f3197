"""The supply, from the supervisor's side: workers offer anything, and confirm anything, old ones and new.

The first byte of an input tells whether the second worker is left over; each message has two lines: one
with the letters of descriptors that the first worker offers, one with bytes that the second one confirms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from sockact.handover.admission import Given, inspect
from sockact.handover.exchange import Exchange
from tests.fuzz import loops
from tests.fuzz.descriptors import LETTERS, Descriptors
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"\0",
        b"\1",
        b"\2",
        b"\xff",
        b"\xfe",
        b"\n",
        b"c\n\1\n",
        b"uu\n\2\n",
        b"e\n",
        b"l",
        b"uuf\n",
        b"\n\n",
        b"x" * 20,
    ),
    *(letter.encode() for letter in LETTERS),
)

MOST = 10
"""Messages of an input."""


def target(data: bytes) -> None:
    """Distribute connections."""
    loops.run(_distributed(Values(data)))


async def _distributed(values: Values) -> None:
    exchange = Exchange(lambda: [2], share=lambda _: 6)
    first = exchange.supply(1).theirs
    assert first is not None
    left_over, second = None, None
    if values.number(1):
        left_over, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supply = exchange.supply(2, left_over)
    if supply.theirs is not None:
        second = supply.theirs.dup()
        supply.theirs.close()
    assert second is not None
    with first, second, Descriptors() as made:
        second.setblocking(False)
        for number in range(MOST):
            letters, message = values.line().decode("latin-1")[:8], values.line()
            offered = [os.dup(fd) for fd in made.keep(each for each in letters if each in LETTERS)]
            exchange.take(offered, 1, sender_exited=number == MOST - 1)
            if message:
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    second.send(message)
            if number == MOST // 2:
                exchange.take_orders(2)
            await asyncio.sleep(0)
            _check(exchange)
            exchange.under_way(2, number)
    exchange.forget(2)
    exchange.forget(1)
    exchange.refuse()


def _check(exchange: Exchange) -> None:
    for fd in exchange.unassigned:
        if inspect(fd) is Given.OTHER:
            raise Broken(f"{os.readlink(f'/proc/self/fd/{fd}')} waits for a worker")
