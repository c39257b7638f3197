"""Makes the report of a run, as a JSON document for programs and as a table for people.

    {"url", "seconds", "started", "requests", "lost",
     "total": LOAD, "loads": {label: LOAD + {"kind"}},
     "seen": [{"version", "pid", "first", "last", "responses"}],
     "windows": [{"stall", "worst"}],
     "actions": [{"action", "began", "ended", "status", "output"}],
     "phases": [{"phase", "took", "requests", "lost", "latency_ms", "stall"}],
     "connections": {"persistent", "lasted", "ends": {word: count}},
     "failures": [{"at", "load", "outcome", "detail"}]}

    LOAD: {"requests", "lost", "outcomes": {word: count}, "connections", "reconnects", "idle_resets",
           "restarts", "unsent", "latency_ms": {"p50", "p99", "max"}, "stall"}

Times are seconds since the run began; only `latency_ms` is milliseconds. `started` is null if not every
client was served. A latency is null if no request was served, and counts from the time at which the request
was due. The stall of `total` is that of the loads whose requests are answered at once, null if there are
none. A window ends at each SIGUSR1, and when an action begins or ends; `worst` is the longest stall in it
of any single one of these loads. The `status` of an action is its exit status, null if it was ended by
force; `took` is null in phases without an action. The latencies of phases are those of loads whose requests
are answered at once.
`connections` are the first 500 persistent ones: those have `lasted` that were open when the run ended, and
`ends` says how the others ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .account import LISTED_FAILURES, Account, Failure, Sighting, Stall, Window, percentile
from .outcome import Outcome
from .phases import RunPhase, phases
from .record import Course, Identity, Mark
from .run import Result
from .spec import Spec
from .words import count, duration

COUNTS = ("connections", "reconnects", "idle_resets", "restarts", "unsent")
_RARE = ("closed", *COUNTS[1:])
"""Columns of the table that are left out if all their values are 0."""


def document(url: str, specs: Iterable[Spec], result: Result) -> dict[str, Any]:
    """Return the report as values for JSON, in the form that the module's docstring shows."""
    ledger = result.ledger
    total = _load(list(ledger.accounts.values()), ledger.stall if ledger.prompt else None)
    kinds = {spec.label: spec.kind for spec in specs}
    return {
        "url": url,
        "seconds": round(result.seconds, 3),
        "started": None if result.started is None else round(result.started, 3),
        "requests": total["requests"],
        "lost": total["lost"],
        "total": total,
        "loads": {
            label: {"kind": kinds[label], **_load([account], account.stall)}
            for label, account in ledger.accounts.items()
        },
        "seen": [_sighting(*one) for one in ledger.seen.items()],
        "windows": [_window(one) for one in ledger.windows],
        "actions": [_action(mark) for mark in result.marks],
        "phases": [_phase(one) for one in phases(ledger, result.marks)],
        "connections": _connections(ledger.record.courses),
        "failures": [_failure(one) for one in ledger.failures],
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the report for people, from the same document."""
    totals = {**report["total"]["outcomes"], **report["total"]}
    shown = [name for name in (*Outcome, *COUNTS) if name not in _RARE or totals[name]]
    rows = [("load", "requests", *shown, "p50 ms", "p99 ms", "max ms", "stall s")]
    rows += [_row(label, load, shown) for label, load in report["loads"].items()]
    if len(report["loads"]) > 1:
        rows.append(_row("total", report["total"], shown))
    lines = [*_aligned(rows), ""]
    lines += [
        f"seen version={one['version']} pid={one['pid']}"
        f" first={one['first']:.3f} last={one['last']:.3f} responses={one['responses']}"
        for one in report["seen"]
    ]
    lines += [
        f"lost at={one['at']:.3f} load={one['load']} outcome={one['outcome']} {one['detail']}"
        for one in report["failures"]
    ]
    if report["lost"] > LISTED_FAILURES:
        lines.append(f"... and {report['lost'] - LISTED_FAILURES} more")
    started = "" if report["started"] is not None else "; not every client was served"
    lost, requests, seconds = report["lost"], report["requests"], report["seconds"]
    lines.append(f"{lost} of {requests} requests lost in {seconds:.1f} s{started}")
    return "\n".join(lines) + "\n"


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Return the result in a few sentences, the first of which is a title."""
    if report["started"] is None:
        return ["Not every client was served", f"{_lost(report)}: no request tells what an action does"]
    total = report["total"]
    closed = count(total["reconnects"] + total["restarts"], "connection")
    lines = [f"{closed} closed by the server, longest stall {duration(total['stall'])}"]
    for action, phase in zip(report["actions"], _during(report), strict=True):
        lines.append(f"{action['action']}: {_done(action, phase)}")
    return [_lost(report), *lines]


def _lost(report: Mapping[str, Any]) -> str:
    return f"{report['lost']:,} of {count(report['requests'], 'request')} lost"


def _during(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [phase for phase in report["phases"] if phase["took"] is not None]


def _done(action: Mapping[str, Any], phase: Mapping[str, Any]) -> str:
    """Return what an action came to: `0 of 52 lost, longest stall 12 ms, done after 0.3 s`."""
    took, status = duration(phase["took"]), action["status"]
    result = f"{phase['lost']:,} of {phase['requests']:,} lost, longest stall {duration(phase['stall'])}"
    if status is None:
        return f"ended by force after {took}; {result}"
    if status:
        said = f": {action['output']}" if action["output"] else ""
        return f"failed after {took} with exit status {status}; {result}{said}"
    return f"{result}, done after {took}"


def _sighting(identity: Identity, sighting: Sighting) -> dict[str, Any]:
    first, last = round(sighting.first, 3), round(sighting.last, 3)
    who = {"version": identity.version, "pid": identity.pid}
    return {**who, "first": first, "last": last, "responses": sighting.responses}


def _window(window: Window) -> dict[str, float]:
    return {"stall": round(window.stall, 4), "worst": round(window.worst, 4)}


def _action(mark: Mark) -> dict[str, Any]:
    began, ended = round(mark.began, 3), round(mark.ended, 3)
    done = {"status": mark.status, "output": mark.output}
    return {"action": mark.label, "began": began, "ended": ended, **done}


def _phase(phase: RunPhase) -> dict[str, Any]:
    took = None if phase.mark is None else round(phase.mark.ended - phase.mark.began, 3)
    counts = {"phase": phase.name, "took": took, "requests": phase.requests, "lost": phase.lost}
    stall = None if phase.stall is None else round(phase.stall, 4)
    return {**counts, "latency_ms": _latencies(phase.latencies), "stall": stall}


def _connections(courses: Sequence[Course]) -> dict[str, Any]:
    ends = Counter(course.end for course in courses if course.end)
    return {"persistent": len(courses), "lasted": len(courses) - ends.total(), "ends": dict(ends)}


def _latencies(ordered: Sequence[float]) -> dict[str, float | None]:
    percents = {"p50": 50, "p99": 99, "max": 100}
    return {name: _milliseconds(percentile(ordered, percent)) for name, percent in percents.items()}


def _failure(failure: Failure) -> dict[str, Any]:
    at, outcome = round(failure.at, 3), failure.outcome.value
    return {"at": at, "load": failure.load, "outcome": outcome, "detail": failure.detail}


def _load(accounts: Sequence[Account], stall: Stall | None) -> dict[str, Any]:
    latencies = sorted(value for account in accounts for value in account.latencies)
    return {
        "requests": sum(account.requests for account in accounts),
        "lost": sum(account.lost for account in accounts),
        "outcomes": {word.value: sum(account.outcomes[word] for account in accounts) for word in Outcome},
        **{name: sum(getattr(account, name) for account in accounts) for name in COUNTS},
        "latency_ms": _latencies(latencies),
        "stall": None if stall is None else round(stall.longest, 3),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _row(label: str, load: Mapping[str, Any], shown: Iterable[str]) -> tuple[str, ...]:
    latency = ("-" if value is None else f"{value:.1f}" for value in load["latency_ms"].values())
    counts = (str({**load["outcomes"], **load}[name]) for name in shown)
    stall = "-" if load["stall"] is None else f"{load['stall']:.2f}"
    return (label, str(load["requests"]), *counts, *latency, stall)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))]
        )
        for row in rows
    ]
