"""A search, breadth first, through all states of a model; it knows the shortest way to each.

Of a state that it has left behind it keeps the hash alone, of 64 bits: among ten million states two have
the same one with a probability of 3e-6, and the second of them would not be visited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import NamedTuple, Protocol


class Model(Protocol):
    """A model: states, which are values, and events that lead from one to the next."""

    def begin(self) -> Hashable:
        """Return the first state."""

    def events(self, state: Hashable) -> Iterable[Hashable]:
        """Return what can happen in a state."""

    def after(self, state: Hashable, event: Hashable) -> Hashable | None:
        """Return the state after an event, None for one that is not looked at.

        Raises:
            AssertionError: the event breaks a promise.
        """


class Found(NamedTuple):
    """The result of a search.

    Attributes:
        states: the states that were reached.
        transitions: the events that were tried in them.
        broken: the promise that was broken; empty for none.
        path: the shortest sequence of events that breaks it.
    """

    states: int
    transitions: int
    broken: str = ""
    path: tuple[str, ...] = ()


def search(model: Model, most: int | None = None) -> Found:
    """Visit all states of a model, or `most` of them, until a promise is broken."""
    first = model.begin()
    came: dict[int, tuple[int, Hashable] | None] = {hash(first): None}
    todo = deque([first])
    transitions = 0
    while todo and (most is None or len(came) < most):
        state = todo.popleft()
        name = hash(state)
        for event in model.events(state):
            transitions += 1
            try:
                after = model.after(state, event)
            except (AssertionError, KeyError) as error:
                path = (*_path(came, name), _told(event))
                return Found(len(came), transitions, str(error) or "an assertion of the fleet", path)
            if after is not None and hash(after) not in came:
                came[hash(after)] = name, event
                todo.append(after)
    return Found(len(came), transitions)


def _path(came: dict[int, tuple[int, Hashable] | None], name: int) -> list[str]:
    steps = []
    while (before := came[name]) is not None:
        name, event = before
        steps.append(_told(event))
    return steps[::-1]


def _told(event: Hashable) -> str:
    return " ".join(map(str, event)) if isinstance(event, tuple) else getattr(event, "name", str(event))
