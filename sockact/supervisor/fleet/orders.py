"""The actions that a fleet decides on; the supervisor carries them out."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Order(enum.Enum):
    """An order to a worker, with the signal that means the same.

    An abort ends the drain: what is still in flight is cut off. A kill ends the process.

    ABORT is not SIGUSR2: of several pending signals the kernel delivers the one with the lowest number
    first, so that it would overtake the SIGTERM before it, and be a request to reload.
    """

    DRAIN = "SIGTERM"
    ABORT = "SIGQUIT"
    KILL_WITH_STACKS = "SIGABRT"
    KILL = "SIGKILL"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker of a generation."""

    worker: int
    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a worker an order."""

    worker: int
    order: Order


@dataclass(frozen=True, slots=True)
class Started:
    """The first generation serves."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The new generation serves, and the one before it drains."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The generation that was to serve was given up: the start or the reload failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """No worker is left."""


class Weight(enum.Enum):
    """The importance of a line for the log."""

    PLANNED = enum.auto()
    REMARK = enum.auto()
    FAILURE = enum.auto()


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare the canary with the workers that serve beside it, and tell `Fleet.compared` the result.

    Attributes:
        last: whether the time of the canary is over.
    """

    last: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log.

    Attributes:
        text: the line.
        weight: its importance.
        worker: the worker that it is about.
        generation: of that worker.
    """

    text: str
    weight: Weight = field(default=Weight.REMARK, compare=False)
    worker: int | None = field(default=None, compare=False)
    generation: int | None = field(default=None, compare=False)


Action = Spawn | Tell | Started | Reloaded | Failed | Stopped | Compare | Note
