"""Puts the page together: the result as its title, the picture, and all figures as tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ..account import percentile
from ..record import Course
from ..report import verdict
from ..run import Result
from ..words import duration, milliseconds
from . import figure
from .columns import columns, groups_of, merged
from .legend import legend

TABLE_ROWS = 40
"""Most rows of the table that has the picture in figures."""

HOW = (
    "A request counts from the moment at which it was due, however late its client was, and no request is"
    " repeated: each that was lost would have been an error for a user. A stall is a time in which requests"
    " were due and none was answered; one at the end of an action counts also for the time after it."
    " Made by sockact probe."
)
ICON = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11" fill="currentColor"/>'
    '<path d="{}" fill="none" stroke="var(--back)" stroke-width="2.4"/></svg>'
)
TICK, CROSS = "M7 12.5l3.4 3.4L17 9", "M8 8l8 8m0-8l-8 8"

Row = tuple[str, Sequence[str]]
"""The class of a row, and its cells."""


def render(report: Mapping[str, Any], result: Result, when: datetime, about: str = "") -> str:
    """Return the page.

    Args:
        report: the report of the run, `report.document`.
        result: the run.
        when: the time of its end.
        about: more about the service, in words.
    """
    record = result.ledger.record
    tone = "bad" if report["lost"] or report["started"] is None else "good"
    groups = groups_of(record)
    seconds = result.seconds if result.loaded is None else result.loaded
    found = columns(result.ledger, seconds, groups)
    rows = figure.rows_of(record.courses)
    layout = figure.Layout(found, groups, result.marks, rows, seconds)
    title, *lead = verdict(report)
    return Template(_text("page.html")).substitute(
        title=escape(title),
        tone=tone,
        icon=ICON.format(CROSS if tone == "bad" else TICK),
        lead="\n".join(f'<p class="lead">{escape(line)}</p>' for line in lead),
        about=escape(_about(report, when, about)),
        style=_text("page.css"),
        script=_text("page.js"),
        tiles="\n".join(_tiles(report, layout)),
        figure="\n".join(figure.figure(layout, "Requests, response times and connections over time")),
        legend="\n".join(legend(groups, report, record.courses)),
        caption=escape(_caption(record.courses, rows)),
        tables="\n".join(_tables(report, layout)),
        footer=escape(HOW),
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _about(report: Mapping[str, Any], when: datetime, about: str) -> str:
    loads = " ".join(report["loads"])
    facts = [about, report["url"], f"{report['seconds']:.1f} s", when.isoformat(" ", "minutes"), loads]
    return " · ".join(filter(None, facts))


def _caption(courses: Sequence[Course], rows: Mapping[str, Sequence[Course]]) -> str:
    shown = sum(map(len, rows.values()))
    more = f" {len(courses) - shown} more connections are not shown." if shown < len(courses) else ""
    return f"Requests stand where they were due.{more}"


def _tiles(report: Mapping[str, Any], layout: figure.Layout) -> Iterator[str]:
    total = report["total"]
    ordered = sorted(latency for column in layout.columns for latency in column.latencies)
    closed = total["reconnects"] + total["restarts"]
    tiles = [
        ("Requests", f"{report['requests']:,}", False),
        ("Lost", f"{report['lost']:,}", report["lost"] > 0),
        ("Connections closed", f"{closed:,}", False),
        ("Longest stall", duration(total["stall"]), False),
        ("Median response", duration(percentile(ordered, 50)), False),
        ("99 % within", duration(percentile(ordered, 99)), False),
    ]
    for name, value, alarm in tiles:
        yield f"<div{_class('alarm' if alarm else '')}><dt>{name}</dt><dd>{value}</dd></div>"


TIMES = ("median", "99 %", "slowest", "longest stall")


def _tables(report: Mapping[str, Any], layout: figure.Layout) -> Iterator[str]:
    if report["actions"]:
        yield "<h2>Before, during and after</h2>"
        yield from _table(("", "requests", "lost", *TIMES), _phases(report))
    if report["failures"]:
        yield "<h2>What was lost</h2>"
        yield from _table(("time", "load", "how", "detail"), _failures(report), words=(1, 2, 3))
    if failed := [("", _failed(one)) for one in report["actions"] if one["status"] != 0]:
        yield "<h2>Actions that failed</h2>"
        yield from _table(("action", "exit status", "output"), failed, words=(2,))
    yield "<details><summary>The picture in figures</summary>"
    yield from _table(("time", "requests", "lost", *TIMES[::2], "answered by"), _steps(layout), words=(5,))
    yield "</details><details><summary>Each load</summary>"
    yield from _table(("load", "requests", "lost", "connections", "closed", *TIMES), _loads(report))
    yield "</details>"


def _phases(report: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for part in report["phases"]:
        took = "" if part["took"] is None else f" ({duration(part['took'])})"
        times = map(milliseconds, part["latency_ms"].values())
        cells = (f"{part['phase']}{took}", f"{part['requests']:,}", f"{part['lost']:,}", *times)
        rows.append(("" if part["took"] is None else "act", (*cells, duration(part["stall"]))))
    return rows


def _failures(report: Mapping[str, Any]) -> Iterator[Row]:
    for one in report["failures"]:
        yield "", (f"{one['at']:.3f} s", one["load"], one["outcome"], one["detail"])
    if more := report["lost"] - len(report["failures"]):
        yield "", (f"and {more:,} more", "", "", "")


def _failed(action: Mapping[str, Any]) -> tuple[str, str, str]:
    status = "ended by force" if action["status"] is None else str(action["status"])
    return action["action"], status, action["output"]


def _steps(layout: figure.Layout) -> Iterator[Row]:
    count = -(-len(layout.columns) // TABLE_ROWS)
    for column in merged(layout.columns, count):
        served = sorted(column.served.items())
        whom = ", ".join(f"{layout.groups.names[group]}: {number}" for group, number in served)
        times = (duration(column.median), duration(max(column.latencies, default=None)))
        span = f"{column.start:.2f} to {column.start + column.width:.2f} s"
        yield "", (span, f"{column.requests:,}", f"{column.lost:,}", *times, whom)


def _loads(report: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for label, load in report["loads"].items():
        times = map(milliseconds, load["latency_ms"].values())
        counts = (
            load["requests"],
            load["lost"],
            load["connections"],
            load["reconnects"] + load["restarts"],
        )
        rows.append(("", (label, *(f"{count:,}" for count in counts), *times, duration(load["stall"]))))
    return rows


def _table(heads: Sequence[str], rows: Iterable[Row], words: Sequence[int] = ()) -> Iterator[str]:
    """Yield a table; cells of the columns `words` are text, and a `lost` that is not 0 is an alarm."""
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>'
    for place, head in enumerate(heads):
        yield f'<th scope="col"{_class("words" if place in words else "")}>{escape(head)}</th>'
    yield "</tr></thead><tbody>"
    for kind, cells in rows:
        yield f'<tr{_class(kind)}><th scope="row">{escape(cells[0])}</th>'
        for place, cell in enumerate(cells[1:], 1):
            alarm = "alarm" if heads[place] == "lost" and cell != "0" else ""
            yield f"<td{_class('words' if place in words else alarm)}>{escape(cell)}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
