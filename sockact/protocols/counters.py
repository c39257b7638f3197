"""What a worker counts, and tells its manager beside its status: assignments of our own, sd_notify(3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

PREFIX = "X_SOCKACT_"


@dataclass(frozen=True, slots=True)
class Counters:
    """What a worker is doing.

    Attributes:
        requests: how many it has begun to answer since it started.
        in_flight: how many it is busy with, WebSockets and background tasks of requests included.
        connections: how many are open.
    """

    requests: int = 0
    in_flight: int = 0
    connections: int = 0

    def assignments(self) -> str:
        """Return the lines of a notification that say so."""
        return "\n".join(f"{PREFIX}{each.name.upper()}={getattr(self, each.name)}" for each in fields(self))


def total(all_of_them: Iterable[Counters]) -> Counters:
    """Return the sums."""
    every = list(all_of_them)
    return Counters(*(sum(getattr(counters, each.name) for counters in every) for each in fields(Counters)))


def read(assignments: Mapping[str, str]) -> Counters | None:
    """Return what a notification says of them; None if it does not say all."""
    texts = [assignments.get(PREFIX + each.name.upper(), "") for each in fields(Counters)]
    return Counters(*map(int, texts)) if all(map(_is_count, texts)) else None


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 request`, `2 requests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
