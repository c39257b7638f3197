"""A remark of `sockact doctor`, and the looks that make them from facts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sockact.doctor.facts import Facts


class Level(enum.StrEnum):
    """A remark's weight."""

    FINE = "fine"
    NOTE = "note"
    TROUBLE = "trouble"


class Remark(NamedTuple):
    """One thing about the machine or the service.

    Attributes:
        name: `socket-inactive`; also for programs.
        level: its weight.
        text: the thing, with its numbers.
        help: the way out, a command if there is one; '' if nothing has to be done.
    """

    name: str
    level: Level
    text: str
    help: str = ""


Look = Callable[["Facts"], Iterable[tuple[str, str]]]
LOOKS: dict[str, Look] = {}
"""The functions that look for troubles, by the names of these."""


def trouble(look: Look) -> Look:
    """Declare a function to look for the trouble of its name; it yields texts and ways out."""
    LOOKS[getattr(look, "__name__", "").replace("_", "-")] = look
    return look
