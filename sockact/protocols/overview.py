"""The overview that `sockact status` shows: a service and its workers.

    {"phase": "active", "pid": 812, "status": "gen 3: 2 workers ready, 1 in flight", "generation": 3,
     "paused": 0.0, "sockets": [{"name": "web", "kind": "stream socket", "address": "127.0.0.1:8000"}],
     "reload": {"at": 1790000000.0, "ok": true, "text": "gen 3 is ready"},
     "reloads": {"ok": 2, "failed": 0}, "requests": 20981, "handed_over": 37,
     "workers": [{"worker": 5, "generation": 3, "version": "", "pid": 845, "phase": "ready",
                  "uptime": 61.2, "requests": 1042, "in_flight": 1, "connections": 9, "rss": 41943040}]}

Times are in seconds, `at` since 1970, `paused` up to the end of the pause, `rss` in bytes. `reload` is null
when there was none; values that a program does not tell are null. `reloads` and `requests` count since the
main process has started, or, where it serves by itself, since the last reload. A service without workers
shows itself as one. A supervisor alone tells how many connections workers have `handed_over`. Earlier
versions tell neither that nor `paused`, nor the `statistics`, from which `protocols.metrics` makes the
metrics.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from sockact.protocols.counters import Counters
from sockact.untrusted.text import visible

PAGE = os.sysconf("SC_PAGE_SIZE")

SHAPE = {
    **dict.fromkeys(("phase", "status"), str),
    **dict.fromkeys(("pid", "generation", "requests"), int),
    "sockets": [dict.fromkeys(("name", "kind", "address"), str)],
    "reload": ({"at": float, "ok": bool, "text": str},),
    "reloads": {"ok": int, "failed": int},
    "workers": [
        {
            **dict.fromkeys(("phase", "version"), str),
            **dict.fromkeys(("worker", "generation", "pid"), int),
            **dict.fromkeys(("requests", "in_flight", "connections", "rss"), (int,)),
            "uptime": float,
        }
    ],
}
"""The same at both ends of the control socket; see `untrusted.shape`."""

COUNTS = ("requests", "in_flight", "connections")
COLUMNS = ("worker", "gen", "pid", "phase", "uptime", "requests", "in flight", "conns", "rss", "version")


def generation(number: int, version: str) -> str:
    """Return the name of a generation, in the status and in log lines."""
    return f"gen {number} ({version})" if version else f"gen {number}"


def worker(
    number: int,
    generation: int,
    pid: int,
    phase: str,
    uptime: float,
    counters: Counters | None,
    version: str,
) -> dict[str, Any]:
    """Return one row of `workers`."""
    return {
        "worker": number,
        "generation": generation,
        "version": version,
        "pid": pid,
        "phase": phase,
        "uptime": round(uptime, 3),
        "requests": None if counters is None else counters.requests,
        "in_flight": None if counters is None else counters.in_flight,
        "connections": None if counters is None else counters.connections,
        "rss": resident(pid),
    }


def resident(pid: int) -> int | None:
    """Return the resident memory of a process in bytes; None if it has ended. Source: proc(5)."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return None


def render(service: Mapping[str, Any]) -> str:
    """Write an overview as text for a terminal."""
    lines = [f"{service['phase']}: {service['status']}", f"main pid {service['pid']}"]
    if last := service["reload"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last["at"]))
        lines.append(f"last reload {when}: {last['text']}")
    lines += [f"holds {each['name']}={each['address'] or each['kind']}" for each in service["sockets"]]
    rows = [COLUMNS, *(_cells(each) for each in service["workers"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(map(visible, lines))


def span(seconds: float) -> str:
    """Return a time in the two largest of its units, as systemd shows one: `3min 11s`."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2]) or "0s"


def _cells(each: Mapping[str, Any]) -> tuple[str, ...]:
    rss = "-" if each["rss"] is None else f"{each['rss'] / 1024**2:.0f} MiB"
    counts = ("-" if each[name] is None else str(each[name]) for name in COUNTS)
    uptime = span(each["uptime"])
    cells = (
        str(each["worker"]),
        str(each["generation"]),
        str(each["pid"]),
        each["phase"],
        uptime,
        *counts,
        rss,
        each["version"] or "-",
    )
    return tuple(map(visible, cells))  # here already, for the width of their columns
