"""A picture of the section Deploys of a page: `tests.bench.deploys_picture PAGE.md FILE.svg`.

A row is a server: its longest stalls from the shortest to the longest of them, with a dot at the median,
and how many requests it has lost and kept connections it has closed.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.picture import TEXT

WIDTH, ROW, HEAD = 800, 20, 44
LEFT, RIGHT, LOST, CLOSED = 124, 500, 516, 656
FASTEST, SLOWEST = 1.0, 30000.0
"""Milliseconds at both ends of the logarithmic scale."""

MARKS = ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10000, "10 s"))
CLEAN, LOSSY = "#2ea043", "#e5534b"


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a table.

    `stalls` are the median, the least and the most, in milliseconds; the others as they stand there.
    """

    name: str
    lost: str
    closed: str
    stalls: tuple[float, ...]


def main() -> None:
    page, file = map(Path, sys.argv[1:])
    file.write_text("\n".join(drawn(page.read_text())) + "\n")


def drawn(page: str) -> Iterator[str]:
    """Yield the lines of an SVG document."""
    panels = [(what, _bars(page, what)) for what in ("reload", "restart")]
    heights = [HEAD + ROW * len(bars) + 16 for _, bars in panels]
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {sum(heights)}" width="{WIDTH}"'
        f' height="{sum(heights)}" font-family="system-ui,sans-serif" font-size="12" fill="{TEXT}">'
    )
    yield "<title>Longest stalls, lost requests and closed connections by reloads and restarts</title>"
    top = 0
    for (what, bars), height in zip(panels, heights, strict=True):
        yield from _panel(what, bars, top)
        top += height
    yield "</svg>"


def _bars(page: str, what: str) -> list[Bar]:
    """Read a table of the page."""
    section = page.partition("## Deploys\n")[2].partition("\n## ")[0]
    found = re.search(rf"^{what}, \d+ of each server\n.*\n((?:  .+\n)+)", section, re.MULTILINE)
    assert found is not None, f"the page has no table of {what}"
    return [_bar(re.split(" {2,}", line.strip())) for line in found[1].splitlines()]


def _bar(cells: Sequence[str]) -> Bar:
    name, lost, requests, _, closed, stall = cells[:6]
    stalls = tuple(float(each.replace(",", "")) for each in re.findall(r"[\d,.]+", stall))
    return Bar(name, f"{lost} of {requests}", closed, stalls)


def _panel(what: str, bars: Sequence[Bar], top: int) -> Iterator[str]:
    bottom = top + HEAD + ROW * len(bars)
    yield f'<text y="{top + 16}" font-size="14" font-weight="600">A {what}</text>'
    titles = ((LEFT, "longest stall"), (LOST, "requests lost"), (CLOSED, "kept connections closed"))
    for x, label in titles:
        yield f'<text x="{x}" y="{top + 16}">{label}</text>'
    for value, label in MARKS:
        x = _x(value)
        yield f'<path d="M{x} {top + HEAD - 8}V{bottom}" stroke="{TEXT}" stroke-opacity=".3"/>'
        yield f'<text x="{x}" y="{top + HEAD - 12}" font-size="10" text-anchor="middle">{label}</text>'
    for number, bar in enumerate(bars):
        yield from _row(bar, top + HEAD + ROW * number + ROW // 2)


def _row(bar: Bar, y: int) -> Iterator[str]:
    median, least, most = map(_x, bar.stalls)
    yield f'<text x="{LEFT - 16}" y="{y + 4}" text-anchor="end">{bar.name}</text>'
    colour = CLEAN if bar.lost.startswith("0 ") else LOSSY
    style = f'stroke="{colour}" stroke-linecap="round"'
    yield f'<path d="M{least} {y}H{most}" stroke-width="3" {style}/>'
    yield f'<path d="M{median} {y}h0" stroke-width="9" {style}/>'
    yield f'<text x="{LOST}" y="{y + 4}" fill="{colour}">{bar.lost}</text>'
    yield f'<text x="{CLOSED}" y="{y + 4}">{bar.closed}</text>'


def _x(milliseconds: float) -> float:
    share = math.log(max(milliseconds, FASTEST) / FASTEST) / math.log(SLOWEST / FASTEST)
    return round(LEFT + (RIGHT - LEFT) * min(share, 1), 1)


if __name__ == "__main__":
    main()
