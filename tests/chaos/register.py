"""The register of all events, and what they have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos.walk import Kind
from tests.chaos.world import FaultError, World

Act = Callable[..., None]

KINDS: dict[str, Kind] = {}
ACTS: dict[str, Act] = {}


def event(weight: float, suites: frozenset[str] | None = None, **arguments: Any) -> Callable[[Act], Act]:
    """Register an event; each argument is drawn from a list, or from a range of two floats."""

    def draw(chance: random.Random) -> Mapping[str, Any]:
        return {name: _drawn(chance, values) for name, values in arguments.items()}

    def register(act: Act) -> Act:
        KINDS[act.__name__] = Kind(weight, draw, suites)
        ACTS[act.__name__] = act
        return act

    return register


def _drawn(chance: random.Random, values: Any) -> Any:
    if isinstance(values, tuple):
        return round(chance.uniform(*values), 2)
    return chance.choice(values)


def expect(done: Any, ok: bool, what: str) -> None:
    """Fail if a command has not ended as expected."""
    if (done.returncode == 0) is not ok:
        raise FaultError(f"{what}: exit status {done.returncode}, {done.stdout}{done.stderr}".strip())


def running(world: World) -> None:
    """Wait until the service is active: a reload that comes during a start is taken for a part of it."""
    world.wait("the service is running", lambda: world.show()["SubState"] == "running")
