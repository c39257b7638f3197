"""The walk: a sequence of steps that the seed alone determines, never the time or what has happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Draw = Callable[[random.Random], Mapping[str, Any]]
"""Draws the arguments of an event."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast steps follow each other.

    Attributes:
        pause: seconds between two steps at most.
        settled: part of the steps after which all is awaited; after the others the next one comes at once.
    """

    pause: float = 1.5
    settled: float = 0.6


PACE = Pace()
RAPID = Pace(pause=0.0, settled=0.02)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: how often it is drawn, and with which arguments; `suites`: None for all."""

    weight: float
    draw: Draw
    suites: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step: an event with its arguments, the pause after it, and whether all is to settle then."""

    number: int
    event: str
    arguments: Mapping[str, Any]
    pause: float
    settle: bool

    def __str__(self) -> str:
        arguments = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.event}{' ' if arguments else ''}{arguments}"


def walk(seed: int, kinds: Mapping[str, Kind], suite: str, pace: Pace = PACE) -> Iterator[Step]:
    """Yield the steps of a seed, without end.

    Each step has a generator of its own, so that an event that draws more changes no later one.
    """
    possible = {name: kind for name, kind in kinds.items() if kind.suites is None or suite in kind.suites}
    names, weights = list(possible), [kind.weight for kind in possible.values()]
    number = 0
    while True:
        number += 1
        draw = random.Random(f"{seed} {number}")
        (event,) = draw.choices(names, weights)
        arguments = dict(possible[event].draw(draw))
        pause = round(draw.uniform(0, pace.pause), 2)
        yield Step(number, event, arguments, pause, draw.random() < pace.settled)
