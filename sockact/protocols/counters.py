"""The counters of a worker's activity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Counters(NamedTuple):
    """A worker's activity, in numbers.

    Attributes:
        requests: how many it has begun to answer since it started.
        in_flight: how many it is answering, WebSockets and background tasks of requests included.
        connections: how many are open.
    """

    requests: int = 0
    in_flight: int = 0
    connections: int = 0


def total(counters: Iterable[Counters]) -> Counters:
    """Return the sums."""
    every = list(counters)
    return Counters(*(sum(getattr(one, name) for one in every) for name in Counters._fields))


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 request`, `2 requests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
