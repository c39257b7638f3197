"""The picture: requests over time, their latencies, and the persistent connections, as SVG.

The three parts have one axis of time, and the actions are bands over all of them. Losses are drawn below
the line, hatched, so that nobody needs colours to see them. Each column and each connection can be focused,
and its title says in words what it shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ..record import Course, Mark
from ..words import count as counted
from ..words import duration
from .columns import Column, Groups
from .scale import FASTEST, LEFT, RIGHT, across, decades, height, ticks

WIDTH = 960
REQUESTS_TOP, REQUESTS, LOST = 56, 140, 40
LATENCIES = 140
GAP, ROW = 44, 18
MAX_ROWS = 12
"""Most clients whose connections are shown."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The run that is drawn, and where the lower parts begin."""

    columns: Sequence[Column]
    groups: Groups
    marks: Sequence[Mark]
    rows: dict[str, list[Course]]
    seconds: float

    @property
    def base(self) -> int:
        """The y of the line on which the requests stand."""
        return REQUESTS_TOP + REQUESTS

    @property
    def latencies(self) -> int:
        """The y at which the latencies end, at the bottom."""
        lost = LOST if any(column.lost for column in self.columns) else 0
        return self.base + lost + GAP + LATENCIES

    @property
    def connections(self) -> int:
        """The y at which the connections begin."""
        return self.latencies + GAP

    @property
    def bottom(self) -> int:
        """The y at which the last part ends."""
        return self.connections + ROW * len(self.rows) if self.rows else self.latencies


def rows_of(courses: Sequence[Course]) -> dict[str, list[Course]]:
    """Return the connections of the first clients."""
    rows: dict[str, list[Course]] = {}
    for course in courses:
        if course.client in rows or len(rows) < MAX_ROWS:
            rows.setdefault(course.client, []).append(course)
    return rows


def figure(layout: Layout, title: str) -> Iterator[str]:
    """Yield the lines of the picture."""
    yield (
        f'<svg viewBox="0 0 {WIDTH} {layout.bottom + 34}" role="group" aria-label="{escape(title)}">'
        '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="5" height="5" class="lost-back"/>'
        '<path d="M0 0V5" class="lost-line"/></pattern></defs>'
    )
    for mark in layout.marks:
        yield from _band(layout, mark)
    yield from _times(layout)
    yield from _requests(layout)
    yield from _latencies(layout)
    yield from _stops(layout)
    yield from _connections(layout)
    yield "</svg>"


def _band(layout: Layout, mark: Mark) -> Iterator[str]:
    """Yield an action as a band over all parts; a short one is made visible by its edge."""
    x, end = across(mark.began, layout.seconds), across(mark.ended, layout.seconds)
    top = REQUESTS_TOP - 26
    yield _box("band", x, top, max(end - x, 1), layout.bottom - top)
    yield f'<path class="edge" d="M{x} {top}V{layout.bottom}M{max(end, x + 1)} {top}V{layout.bottom}"/>'
    late = x > RIGHT - 200
    anchor = f'x="{x - 5}" text-anchor="end"' if late else f'x="{x + 5}"'
    words = f"{mark.label} · {duration(mark.ended - mark.began)}{'' if mark.status == 0 else ' · failed'}"
    yield f'<text class="action" {anchor} y="{top + 11}">{escape(words)}</text>'


def _times(layout: Layout) -> Iterator[str]:
    for at in ticks(layout.seconds, 10):
        x = across(at, layout.seconds)
        yield f'<path class="grid" d="M{x} {REQUESTS_TOP}V{layout.bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{layout.bottom + 18}" text-anchor="middle">{at:g} s</text>'


def _requests(layout: Layout) -> Iterator[str]:
    """Yield the columns: who has served up, what was lost down."""
    most = max((column.requests - column.lost) / column.width for column in layout.columns) or 1.0
    lost = max(column.lost for column in layout.columns) or 1
    yield _name(REQUESTS_TOP - 34, "requests per second, by who served them")
    for value in ticks(most, 5):
        yield _line(
            layout.base - REQUESTS * value / most, f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"
        )
    for column in layout.columns:
        x, width = _span(layout, column)
        width, top = max(width - 0.6, 0.8), float(layout.base)
        parts = [(f"g{group}", count) for group, count in sorted(column.served.items())]
        for name, count in (*parts, ("closed", column.closed)):
            if count:
                size = REQUESTS * count / column.width / most
                top -= size
                yield _box(name, x, top, width, size)
        if column.lost:
            size = max(LOST * column.lost / lost, 6)
            yield _box("lost", x, layout.base + 1, max(width, 3), size)
    if any(column.lost for column in layout.columns):
        yield f'<text class="tick bad" x="{LEFT - 8}" y="{layout.base + 22}" text-anchor="end">lost</text>'


def _latencies(layout: Layout) -> Iterator[str]:
    """Yield for each column the range of its latencies, and their median."""
    slowest = max(max(column.latencies, default=0.0) for column in layout.columns)
    count, bottom = decades(slowest), layout.latencies
    yield _name(bottom - LATENCIES - 14, "response time, from when the request was due")
    for power in range(count + 1):
        yield _line(bottom - LATENCIES * power / count, duration(FASTEST * 10**power))
    medians = []
    for column in layout.columns:
        if (middle := column.median) is not None:
            x, width = _span(layout, column)
            top = bottom - LATENCIES * height(max(column.latencies), count)
            low = bottom - LATENCIES * height(min(column.latencies), count)
            yield _box("range", x, top, max(width - 0.6, 0.8), max(low - top, 2))
            medians.append(f"M{x} {bottom - LATENCIES * height(middle, count):.1f}h{width:.1f}")
    yield f'<path class="median" d="{"".join(medians)}"/>'


def _connections(layout: Layout) -> Iterator[str]:
    """Yield a row for each client, with its connections as lines."""
    if not layout.rows:
        return
    y = layout.connections
    yield _name(y - 14, "persistent connections, one line each")
    yield '<g class="walk" role="list" aria-label="Persistent connections">'
    for client, courses in layout.rows.items():
        y += ROW
        title = escape(_told(client, courses))
        yield f'<g class="stop row" role="listitem" tabindex="-1"><title>{title}</title>'
        yield f'<rect class="hit" x="0" y="{y - ROW}" width="{WIDTH}" height="{ROW}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{y - 5}" text-anchor="end">{escape(client)}</text>'
        for course in courses:
            yield from _course(layout, course, y - ROW / 2)
        yield "</g>"
    yield "</g>"


def _course(layout: Layout, course: Course, y: float) -> Iterator[str]:
    end = across(layout.seconds if course.ended is None else course.ended, layout.seconds)
    begin = across(course.opened, layout.seconds)
    starts = [begin, *(across(part.first, layout.seconds) for part in course.parts[1:]), end]
    yield f'<path class="idle" d="M{begin} {y}H{end}"/>'
    for number, part in enumerate(course.parts):
        group = layout.groups.of.get(part.identity)
        name = "several" if group is None else f"c{group}"
        yield f'<path class="course {name}" d="M{starts[number]} {y}H{starts[number + 1]}"/>'
    yield f'<path class="opened" d="M{begin} {y - 5}v10"/>'
    if course.ended is None:
        yield f'<path class="goes-on" d="M{end + 3} {y - 4}l5 4l-5 4"/>'
    elif course.end == "closed":
        yield f'<circle class="ended" cx="{end}" cy="{y}" r="3.5"/>'
    elif course.end:
        yield f'<path class="broken" d="M{end - 4} {y - 4}l8 8m0 -8l-8 8"/>'


def _told(client: str, courses: Sequence[Course]) -> str:
    ends = [f"{course.end} at {course.ended:.2f} s" for course in courses if course.ended and course.end]
    return f"{client}: {counted(len(courses), 'connection')}, {', '.join(ends[:5]) or 'open until the end'}"


def _stops(layout: Layout) -> Iterator[str]:
    """Yield what the mouse and the keyboard find: a column over the height of all but the connections."""
    yield '<g class="walk" role="list" aria-label="The run, step by step">'
    for number, column in enumerate(layout.columns):
        x, width = _span(layout, column)
        title = escape(told(column, layout.groups))
        yield (
            f'<rect class="stop hit" role="listitem" tabindex="{-1 if number else 0}" x="{x}"'
            f' y="{REQUESTS_TOP}" width="{width}" height="{layout.latencies - REQUESTS_TOP}">'
            f"<title>{title}</title></rect>"
        )
    yield "</g>"


def told(column: Column, groups: Groups) -> str:
    """Return in words what a column shows."""
    whom = [f"{count} {groups.names[group]}" for group, count in sorted(column.served.items())]
    closed = [f"{column.closed} closed"] if column.closed else []
    shares = ", ".join([*whom, *closed])
    times = f"; median {duration(column.median)}, slowest {duration(max(column.latencies, default=None))}"
    requests = f"{counted(column.requests, 'request')}, {column.lost:,} lost"
    return (
        f"{column.start:.2f} to {column.start + column.width:.2f} s: {requests}"
        f"{f' ({shares})' if shares else ''}{times if column.latencies else ''}"
    )


def _span(layout: Layout, column: Column) -> tuple[float, float]:
    """Return the x and the width of a column."""
    x = across(column.start, layout.seconds)
    return x, round(across(column.start + column.width, layout.seconds) - x, 1)


def _name(y: float, text: str) -> str:
    return f'<text class="name" x="{LEFT}" y="{y}">{text}</text>'


def _line(y: float, label: str) -> str:
    text = f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    return f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>{text}'


def _box(name: str, x: float, y: float, width: float, size: float) -> str:
    return f'<rect class="{name}" x="{x}" y="{y:.1f}" width="{width:.1f}" height="{size:.1f}"/>'
