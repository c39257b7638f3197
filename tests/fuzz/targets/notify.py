"""Datagrams to the notify socket of a supervisor, with descriptors and credentials that may be forged.

An input begins with a line that has a letter for each descriptor; the rest is the datagram.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct

from sockact.protocols.notify import Notification, NotifySocket
from sockact.protocols.notify.wire import DATAGRAM_LIMIT
from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.reports import Reports
from tests.fuzz.descriptors import LETTERS, Descriptors
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"READY=1\n",
        b"STOPPING=1\n",
        b"WATCHDOG=1\n",
        b"FDSTORE=1\n",
        b"FDNAME=sockact.connection\n",
        b"BARRIER=1",
    ),
    *(
        b"EXTEND_TIMEOUT_USEC=",
        b"ERRNO=5\n",
        b"STATUS=",
        b"X_SOCKACT_REQUESTS=1\n",
        b"X_SOCKACT_IN_FLIGHT=1\n",
    ),
    *(
        b"X_SOCKACT_CONNECTIONS=",
        b"X_SOCKACT_IDLE=",
        b"X_SOCKACT_EXIT_SEEN=",
        b"X_SOCKACT_VERSION=",
        b"MAINPID=1",
    ),
    *(
        b"X_SOCKACT_OPTIONS=",
        b"X_SOCKACT_REASON=",
        b"9" * 20,
        b"-1",
        b"\n",
        b"=",
        b"\0",
        b"\xff",
        b"\xe2\x80\xae",
        b"\x1b[",
    ),
    *(b"~", b"!", *(letter.encode() for letter in LETTERS)),
)

FORGED = "~"
"""The letter of credentials that are not the sender's; root may send them."""

MANY = "!"
"""The letter of as many descriptors as one datagram can carry."""


def target(data: bytes) -> None:
    """Send a datagram, and one more, to a socket that keeps descriptors and to one that does not."""
    values = Values(data)
    letters, text = values.line().decode("latin-1")[:8], values.rest
    for stores in (True, False):
        with (
            NotifySocket(stores=stores) as manager,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice,
        ):
            voice.connect(manager.address.replace("@", "\0"))
            sent = _send(voice, letters, text)
            voice.send(b"X_NEXT=1")
            first = manager.receive() if sent else None
            second = manager.receive()
            _check(first, text, stores=stores)
            if second is None or second.assignments != {"X_NEXT": "1"} or second.pid != os.getpid():
                raise Broken(f"behind it comes {second}")
            if manager.receive() is not None:
                raise Broken("one more than were sent")


def _send(voice: socket.socket, letters: str, text: bytes) -> bool:
    """Send a datagram; return whether the kernel has taken it."""
    with Descriptors() as made:
        descriptors = made.keep(letter for letter in letters if letter in LETTERS)
        if MANY in letters:
            descriptors = (descriptors or made.keep("f")) * 253
            del descriptors[253:]
        ancillary = []
        if descriptors:
            ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
        if FORGED in letters and not os.geteuid():
            credentials = struct.pack("3i", 1, 0, 0)
            ancillary.append((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials))
        with contextlib.suppress(OSError):  # too large
            voice.sendmsg([text], ancillary)
            return True
    return False


def _check(notification: Notification | None, text: bytes, *, stores: bool) -> None:
    if notification is None:
        return
    said = notification.assignments
    if notification.stored and not (stores and said.get("FDSTORE") == "1"):
        raise Broken(f"{notification.stored} are kept, and were not to be")
    notification.close()
    if len(text) > DATAGRAM_LIMIT and said:
        raise Broken("a part of a datagram is obeyed")
    for name, value in said.items():
        if "=" in name or not value.isprintable() or name.encode() not in text:
            raise Broken(f"{name!r}={value!r} was not sent like that")
    message = WorkerMessage.from_assignments(said)
    reports = Reports()
    reports.hear(1, message)
    if not 0 <= reports.requests < 10**19:
        raise Broken(f"{reports.requests} requests")
    reports.forget(1)
