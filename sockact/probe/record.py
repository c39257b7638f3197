"""The course of a run: every request, every persistent connection, and every action, for the picture.

A request takes 14 bytes, so that a minute of 5,000 requests a second takes 4 MB.
"""

from array import array
from dataclasses import dataclass, field

from .outcome import Outcome

MAX_CONNECTIONS = 500
"""Most connections whose course is kept; the others are only counted."""

MAX_PARTS = 100
"""Most parts of a connection that are kept; behind a proxy each response may be another process's.
The last one is then of `SEVERAL`."""

MAX_KINDS = 4000
"""Most kinds of request; beyond that, the process that answered is not kept."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The `version` and `pid` in a response; None if it has none."""

    version: str | None
    pid: int | None


NOBODY = Identity(None, None)
SEVERAL = Identity("several", None)


@dataclass(slots=True)
class Part:
    """A time in which one process has answered on a connection."""

    first: float
    last: float
    identity: Identity


@dataclass(slots=True)
class Course:
    """A persistent connection: its client, its time, and who answered on it.

    `ended` is None, and `end` empty, if it was open when the run ended.
    """

    client: str
    opened: float
    ended: float | None = None
    end: str = ""
    parts: list[Part] = field(default_factory=list)

    def answered(self, now: float, identity: Identity) -> None:
        """Note a response on it."""
        last = self.parts[-1] if self.parts else None
        if last is not None and last.identity in (identity, SEVERAL):
            last.last = now
        elif last is not None and len(self.parts) == MAX_PARTS:
            last.last, last.identity = now, SEVERAL
        else:
            self.parts.append(Part(now, now, identity))

    def close(self, now: float, end: str) -> None:
        """Note its end; a second one counts for nothing."""
        if self.ended is None:
            self.ended, self.end = now, end


@dataclass(frozen=True, slots=True)
class RequestKind:
    """The load, outcome and identity that requests have in common."""

    load: str
    outcome: Outcome
    identity: Identity


@dataclass(slots=True)
class Record:
    """The requests in order of their ends: `due` and `taken` in seconds, `which` is a number of `kinds`."""

    due: "array[float]" = field(default_factory=lambda: array("d"))
    taken: "array[float]" = field(default_factory=lambda: array("f"))
    which: "array[int]" = field(default_factory=lambda: array("H"))
    kinds: dict[RequestKind, int] = field(default_factory=dict)
    courses: list[Course] = field(default_factory=list)

    def add(self, due: float, now: float, kind: RequestKind) -> None:
        """Add a request that has ended."""
        if (number := self.kinds.get(kind)) is None:
            if len(self.kinds) >= MAX_KINDS:
                kind = RequestKind(kind.load, kind.outcome, NOBODY)
            number = self.kinds.setdefault(kind, len(self.kinds))
        self.due.append(due)
        self.taken.append(now - due)
        self.which.append(number)

    def opened(self, client: str, now: float) -> Course:
        """Add a connection that was opened, and return its course."""
        course = Course(client, now)
        if len(self.courses) < MAX_CONNECTIONS:
            self.courses.append(course)
        return course


@dataclass(frozen=True, slots=True)
class Mark:
    """An action during the run: its time, its exit status (None if it was ended by force), its output."""

    label: str
    began: float
    ended: float
    status: int | None
    output: str
