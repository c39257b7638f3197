"""Explains what was lost, from how requests ended and what systemd knows of the unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sockact.probe.outcome import Outcome
from sockact.systemd.systemctl import Described

LONG = 1.0
"""Seconds of a stall that users notice."""

BY_OUTCOME = {
    Outcome.RESET: "a process ended while it held connections that it had accepted: it has to drain on"
    " SIGTERM (its grace period, TimeoutStopSec=, KillMode=)",
    Outcome.EMPTY: "a process closed connections without an answer to requests that had been sent on them",
    Outcome.TIMEOUT: "no complete response came within --limit",
    Outcome.WRONG: "a response was cut off, or its status was not 2xx",
}


def explain(report: Mapping[str, Any], service: Described) -> Iterator[str]:
    """Yield an explanation for each kind of loss, for closed connections, and for a long stall."""
    total = report["total"]
    counts = total["outcomes"]
    if counts[Outcome.REFUSED]:
        yield f"{counts[Outcome.REFUSED]:,} refused: {_refused(service)}"
    for outcome, reason in BY_OUTCOME.items():
        if counts[outcome]:
            yield f"{counts[outcome]:,} {outcome}: {reason}"
    if total["reconnects"]:
        yield f"{total['reconnects']:,} closed: no request was lost there, but clients had to connect again"
    if report["started"] is not None and (total["stall"] or 0) >= LONG:
        yield f"{total['stall']:.1f} s of stall: nobody served until the next process was ready"


def _refused(service: Described) -> str:
    if not service.listen:
        return "nobody listens while no process runs: a socket unit would hold the port open"
    return f"{', '.join(service.listen)} did not listen, or its process listens by itself"
