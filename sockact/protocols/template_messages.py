"""Both ends of what a supervisor and a template tell each other, one datagram for each message.

A template is a process that has imported the app, and forks the workers of its generation.

    FORK worker watchdog names address    to the template, with the descriptors that the worker gets beside
                                          those of the template, and their names as in LISTEN_FDNAMES
    FORKED worker pid                     from the template
    FAILED worker text                    from the template: the kernel refuses

The watchdog is the longest pause between two pings in microseconds, 0 for none; the address is that of the
worker's notify socket. A template of newer code understands the requests of an older supervisor.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from sockact.protocols.notify import one_line
from sockact.untrusted.number import decimal

MESSAGE_LIMIT = 4096
"""The bytes of the longest message; a path of a socket has 108."""


class ForkRequest(NamedTuple):
    """A supervisor's request for a worker.

    Attributes:
        worker: its number.
        watchdog: microseconds between two of its pings, at most; 0 for no watchdog.
        names: the names of the descriptors that come with the request.
        address: the address of its notify socket.
    """

    worker: int
    watchdog: int
    names: tuple[str, ...]
    address: str

    def __bytes__(self) -> bytes:
        return f"FORK {self.worker} {self.watchdog} {':'.join(self.names)} {self.address}".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read a request; None if it is none of this version."""
        name, _, rest = data.decode("utf-8", "replace").partition(" ")
        worker, _, rest = rest.partition(" ")
        watchdog, _, rest = rest.partition(" ")
        names, _, address = rest.partition(" ")
        numbers = decimal(worker), decimal(watchdog)
        if name != "FORK" or numbers[0] is None or numbers[1] is None:
            return None
        return cls(numbers[0], numbers[1], tuple(names.split(":")), address)


class ForkAnswer(NamedTuple):
    """A template's answer to a request.

    Attributes:
        worker: the worker's number.
        pid: its process; 0 if there is none.
        error: the reason for that, in words.
    """

    worker: int
    pid: int = 0
    error: str = ""

    def __bytes__(self) -> bytes:
        if self.pid:
            return f"FORKED {self.worker} {self.pid}".encode()
        return f"FAILED {self.worker} {one_line(self.error)}".encode()[:MESSAGE_LIMIT]

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read an answer; None if it is malformed: an app controls its template."""
        name, _, rest = data.decode("utf-8", "replace").partition(" ")
        first, _, text = rest.partition(" ")
        if (worker := decimal(first)) is None:
            return None
        if name == "FORKED":
            pid = decimal(text, digits=9)
            return cls(worker, pid) if pid else None
        return cls(worker, error=one_line(text)) if name == "FAILED" else None
