"""Options of units with the reasons for them, and the text of a file made of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

WIDTH = 118


@dataclass(frozen=True, slots=True)
class UnitOption:
    """One line of a unit, as systemd reads it, and the reason for it if that is not obvious."""

    name: str
    value: str
    why: str = ""


Group = Sequence[UnitOption]
"""Options that belong together; a blank line separates groups."""


@dataclass(frozen=True, slots=True)
class UnitText:
    """A unit file or a drop-in.

    Attributes:
        name: its path below the folder of unit files: `app.service`, `app.service.d/tls.conf`.
        head: what it is, for the top of the file.
        sections: its groups of options, by the name of the section.
        foot: a comment at the end.
    """

    name: str
    head: str
    sections: Sequence[tuple[str, Sequence[Group]]]
    foot: str = ""

    def text(self, *, explained: bool = True) -> str:
        """Return the content of the file; with the reasons unless they stand in another one."""
        parts = [_comment(self.head)]
        for name, groups in self.sections:
            bodies = ["".join(_lines(group, explained)) for group in groups if group]
            parts.append(f"[{name}]\n" + "\n".join(bodies))
        if self.foot and explained:
            parts.append(_comment(self.foot))
        return "\n".join(parts)


def _lines(group: Iterable[UnitOption], explained: bool) -> Iterable[str]:
    for option in group:
        if explained and option.why:
            yield _comment(option.why)
        yield f"{option.name}={option.value}\n"


def _comment(text: str) -> str:
    """Return paragraphs as lines of comment; a line that begins with two blanks or a # is kept as it is."""
    lines: list[str] = []
    for line in _paragraphs(text):
        kept = not line or line.startswith(("  ", "#"))
        lines += [line] if kept else textwrap.wrap(line, WIDTH - 2, break_on_hyphens=False)
    return "".join(f"{line}\n" if line.startswith("#") else f"# {line}".rstrip() + "\n" for line in lines)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text, each as one line, and its blank lines and those that are kept."""
    words: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(("  ", "#")):
            words.append(line)
            continue
        if words:
            yield " ".join(words)
        words = []
        yield line
    if words:
        yield " ".join(words)
