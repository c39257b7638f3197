"""Left-over workers: those of the supervisor before this one, which serve until this one's do.

A supervisor whose unit leaves them alone when it ends (`succession` in the supervisor's room) stores each
worker's handle and its supply in systemd's store, under one name. The next supervisor finds them there, and
what they have sent meanwhile. When systemd closes its store, since the unit has stopped for good, the
workers are told so by their lifelines, and drain.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sockact.process.child_handle import ChildHandle
from sockact.process.parent_death import Lifeline
from sockact.protocols.notify import NotifySocket
from sockact.sockets.fds import Kind, Listener
from sockact.untrusted.number import decimal

_NAME = re.compile(r"sockact\.worker\.([0-9]{1,9})\.([0-9]{1,9})")

_HANDLE = frozenset({Kind.DATAGRAM, Kind.STREAM, Kind.OTHER})
"""The notify socket, the lifeline and the pidfd: one of each kind."""


def stored_name(worker: int, generation: int) -> str:
    """Return the name under which a worker's descriptors are stored."""
    return f"sockact.worker.{worker}.{generation}"


class LeftOver(NamedTuple):
    """A worker of the supervisor before this one.

    Attributes:
        number: its number.
        generation: its generation.
        handle: the handle of its process.
        supply: the supervisor's end of its supply; None if the worker has closed its own, at its end.
    """

    number: int
    generation: int
    handle: ChildHandle
    supply: socket.socket | None

    @property
    def name(self) -> str:
        """The name under which its descriptors are stored."""
        return stored_name(self.number, self.generation)


@dataclass(slots=True)
class LeftOvers:
    """The descriptors of left-over workers that were passed to this process.

    Attributes:
        gone: the names of those that cannot be taken over: they have ended, or systemd has not all of their
            descriptors.
    """

    gone: list[str] = field(default_factory=list)
    _found: dict[str, list[Listener]] = field(default_factory=dict)

    def add(self, listener: Listener) -> bool:
        """Add a descriptor; return False if it is none of a left-over worker."""
        if listener.listening or not _NAME.fullmatch(listener.name):
            return False
        self._found.setdefault(listener.name, []).append(listener)
        return True

    def descriptors(self) -> list[Listener]:
        """Return those that were added, and not taken."""
        return [each for parts in self._found.values() for each in parts]

    def dismiss(self) -> list[str]:
        """Close all, and return the names to be removed from the store: the workers drain then."""
        names = [*self._found, *self.gone]
        close(self.descriptors())
        self._found.clear()
        return names

    def take(self) -> list[LeftOver]:
        """Return the workers, the oldest first; from now on their descriptors are the caller's."""
        found, self._found = self._found, {}
        taken = []
        for name, parts in found.items():
            worker = _left_over(name, parts)
            if worker is None:
                self.gone.append(name)
                close(parts)
            else:
                taken.append(worker)
        return sorted(taken, key=lambda worker: worker.number)


def close(parts: Iterable[Listener]) -> None:
    """Close descriptors; those in systemd's store stay."""
    for each in parts:
        each.close()


def _left_over(name: str, parts: Iterable[Listener]) -> LeftOver | None:
    match, every = _NAME.fullmatch(name), list(parts)
    by_kind = {each.kind: each for each in every}
    complete = len(by_kind) == len(every) and by_kind.keys() - {Kind.SEQPACKET} == _HANDLE
    if match is None or not complete or any(_is_foreign(each) for each in every):
        return None
    supply, notify, lifeline = (
        by_kind[kind].sock if kind in by_kind else None
        for kind in (Kind.SEQPACKET, Kind.DATAGRAM, Kind.STREAM)
    )
    pidfd = by_kind[Kind.OTHER].fd
    pid = _pid(pidfd)
    if not pid or notify is None or lifeline is None:
        return None
    handle = ChildHandle(pid, pidfd, NotifySocket(stores=True, bound=notify), Lifeline(lifeline))
    return LeftOver(int(match[1]), int(match[2]), handle, supply)


def _is_foreign(part: Listener) -> bool:
    """Return whether this is a socket that no worker of ours has."""
    return part.sock is not None and part.sock.family != socket.AF_UNIX


def _pid(pidfd: int) -> int:
    """Return the process that a pidfd refers to; 0 if it was reaped, or this is none. Source: proc(5)."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return 0
    return decimal(fields.get("Pid", "").strip()) or 0  # -1: reaped
