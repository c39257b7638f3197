"""The supply, from the worker's side: whatever comes over it, nothing leaks, and what follows is heard.

Each message of an input has two lines: one with the letters of descriptors, one with the bytes.
"""

from __future__ import annotations

import socket

from sockact.handover.transfer import ARRIVING, RETIRE, HandoverReceiver, HandoverSender
from sockact.protocols.worker_messages import NUMBERED_ORDERS
from tests.fuzz import loops
from tests.fuzz.descriptors import LETTERS, Descriptors
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        bytes([ARRIVING]),
        bytes([RETIRE]),
        b"\0",
        b"\1",
        b"\3",
        b"\xfd",
        b"\n",
        b"SIGTERM",
        b"SIGQUIT",
        b"SIGHUP",
        b"KEEP",
    ),
    *(
        b"LISTENING",
        b"INTRODUCE",
        b"EXITED 5",
        b"SHED 3",
        b"BEAT",
        b"SHED -1",
        b"EXITED 9999999999",
        b"\xff",
        b" ",
        b"x" * 70,
    ),
    *(letter.encode() for letter in LETTERS),
)

MOST = 12
"""Messages of an input."""


class Offered:
    """A connection that the worker offers."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def fileno(self) -> int:
        """Return a descriptor."""
        return 0

    def on_moved(self) -> None:
        """Note it."""
        self._log.append("moved")

    def on_refused(self) -> None:
        """Note it."""
        self._log.append("refused")


def target(data: bytes) -> None:
    """Receive messages."""
    loops.run(_received(Values(data)))


async def _received(values: Values) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    arrived: list[socket.socket] = []
    outcomes: list[str] = []
    heard: list[object] = []
    sender = HandoverSender(lambda _: True, confirms=True)
    numbered = dict.fromkeys(NUMBERED_ORDERS, heard.append)
    receiver = HandoverReceiver(theirs, arrived.append, sender, heard.append, numbered)
    try:
        sent = _send_all(values, ours, receiver, outcomes)
        ours.send(bytes([RETIRE]) + b"SIGTERM")
        receiver.receive()
        if not heard or heard[-1] != "SIGTERM":
            raise Broken(f"an order behind {sent} messages is not heard: {heard}")
    finally:
        ours.close()
        receiver.receive()
        for sock in arrived:
            sock.close()
    expected = 2 * (MOST // 3)
    if len(outcomes) != expected:
        raise Broken(f"{len(outcomes)} of {expected} offered connections have an outcome")
    if any(not isinstance(each, str | int) for each in heard):
        raise Broken(f"heard {heard}")


def _send_all(values: Values, ours: socket.socket, receiver: HandoverReceiver, outcomes: list[str]) -> int:
    """Send the messages of an input, while the worker offers connections; return how many there were."""
    sent, sender = 0, receiver._sender
    with Descriptors() as made:
        for number in range(MOST):
            if number % 3 == 0:
                sender._offered += [Offered(outcomes), Offered(outcomes)]
                sender._send()
            letters, message = values.line().decode("latin-1")[:6], values.line()
            if message:
                socket.send_fds(ours, [message], made.keep(each for each in letters if each in LETTERS))
                sent += 1
                receiver.receive()
    return sent
