"""The syntax of unit files: assignments, booleans, time spans and command lines.

Sources: systemd.syntax(7), systemd.time(7), systemd.service(5).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

TRUE = ("yes", "true", "1", "on", "y", "t")
FALSE = ("no", "false", "0", "off", "n", "f")
"""The words for a boolean."""

_SPANS = (
    (("usec", "us", "μs", "µs"), 1e-6),
    (("msec", "ms"), 1e-3),
    (("seconds", "second", "sec", "s", ""), 1.0),
    (("minutes", "minute", "min", "m"), 60.0),
    (("hours", "hour", "hr", "h"), 3600.0),
    (("days", "day", "d"), 86400.0),
    (("weeks", "week", "w"), 604800.0),
)
_UNITS = {name: seconds for names, seconds in _SPANS for name in names}
_ESCAPES = {"n": "\n", "t": "\t", "s": " ", "\\": "\\", '"': '"', "'": "'"}


class Assignment(NamedTuple):
    """One assignment in a unit file.

    Attributes:
        option: `Service.Type`, the section and the option.
        value: what is on the right, with its lines joined.
        line: the number of its first line, from 1.
        end: the number of its last line.
        path: the file.
    """

    option: str
    value: str
    line: int = 0
    end: int = 0
    path: str = ""


def parse(text: str, path: str = "") -> Iterator[Assignment]:
    """Yield the assignments of a unit file, in their order."""
    section, begin = "", 0
    pending: list[str] = []  # joined at the end: there may be 100,000
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or not (stripped or pending):
            continue
        begin = begin if pending else number
        if stripped.endswith("\\"):
            pending.append(stripped[:-1] + " ")
            continue
        whole = "".join([*pending, stripped])
        pending.clear()
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
        else:
            option, equals, value = whole.partition("=")
            if equals:
                yield Assignment(f"{section}.{option.strip()}", value.strip(), begin, number, path)


def in_force(assignments: Iterable[Assignment]) -> list[Assignment]:
    """Return the assignments without those that an empty one after them has removed."""
    found: dict[str, list[Assignment]] = {}
    for each in assignments:
        if each.value:
            found.setdefault(each.option, []).append(each)
        else:
            found[each.option] = []
    return [each for option in found.values() for each in option]


def seconds(text: str) -> float | None:
    """Return a time span in seconds, infinity included; None if it is none."""
    if text.strip() == "infinity":
        return math.inf
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-zµμ]*)|(\S)", text)
    if not parts or any(rest or unit not in _UNITS for _, unit, rest in parts):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit, _ in parts)


def words(text: str) -> list[str]:
    """Return the words of a command line or list, unquoted; an open quote ends with the text.

    Specifiers and variables stay as they are.
    """
    found: list[str] = []
    word: list[str] | None = None  # its characters: joined one by one they would take quadratic time
    quote, position = "", 0
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            position += 1
            char = _ESCAPES.get(text[position], f"\\{text[position]}")
        elif char == quote or (not quote and char in "'\"" and word is None):
            char, quote = "", "" if quote else char
        elif not quote and char.isspace():
            found += [] if word is None else ["".join(word)]
            word = None
            position += 1
            continue
        word = word or []
        word.append(char)
        position += 1
    return found if word is None else [*found, "".join(word)]
