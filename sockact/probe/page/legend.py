"""The legend of the picture: each sign that it uses, and what it means."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ..record import SEVERAL, Course
from .columns import Groups

BOX = '<rect class="{}" x="1" y="1" width="20" height="12" rx="2"/>'
LINE = '<path class="{}" d="M1 7H21"/>'


def legend(groups: Groups, report: Mapping[str, Any], courses: Sequence[Course]) -> Iterator[str]:
    """Yield the items for what is in the picture."""
    answered = "" if groups.names == ("served",) else "answered by "
    for number, name in enumerate(groups.names):
        yield _item(BOX.format(f"g{number}"), f"{answered}{name}")
    if report["lost"]:
        yield _item(BOX.format("lost"), "lost")
    if report["total"]["outcomes"]["closed"]:
        yield _item(BOX.format("closed"), "overtaken by an orderly end of its WebSocket")
    if report["actions"]:
        yield _item(BOX.format("band"), "an action, from its beginning to its end")
    yield _item(BOX.format("range"), "fastest to slowest response")
    yield _item(LINE.format("median"), "median")
    if not courses:
        return
    yield _item('<path class="opened" d="M4 2V12"/><path class="idle" d="M4 7H20"/>', "opened")
    yield _item('<path class="goes-on" d="M8 3l6 4l-6 4"/>', "still open at the end")
    if any(part.identity is SEVERAL for course in courses for part in course.parts):
        yield _item(LINE.format("course several"), "answered by several in turn")
    if report["connections"]["ends"].get("closed"):
        yield _item(
            '<circle class="ended" cx="11" cy="7" r="4"/>', "closed by the server, between requests"
        )
    if set(report["connections"]["ends"]) - {"closed"}:
        yield _item('<path class="broken" d="M6 3l8 8m0-8l-8 8"/>', "broken")


def _item(sign: str, words: str) -> str:
    return f'<li><svg viewBox="0 0 22 14" aria-hidden="true">{sign}</svg>{escape(words)}</li>'
