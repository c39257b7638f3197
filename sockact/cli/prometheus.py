"""The output of `sockact status --prometheus`: a service's metrics.

    sockact_info{phase="active",generation="3",version="1.2"} 1
    sockact_reloads_total{result="ok"} 2
    sockact_worker_resident_bytes{worker="5",generation="3"} 41943040

A timer writes it to a file of node_exporter's textfile collector; the service opens no port for it.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sockact.untrusted.text import visible

WORKER = {
    "uptime": ("sockact_worker_uptime_seconds", "Time since the worker was started."),
    "rss": ("sockact_worker_resident_bytes", "Resident memory of the worker."),
}


def render(service: Mapping[str, Any]) -> str:
    """Return the metrics of a service (see `sockact.protocols.overview`)."""
    workers = service["workers"]
    known = [each for each in workers if each["version"] and each["generation"] == service["generation"]]
    info = {
        "phase": service["phase"],
        "generation": service["generation"],
        "version": known[0]["version"] if known else "",
    }
    families = [
        _family("sockact_info", "gauge", "The phase, generation and version of the service.", [(info, 1)]),
        *_totals(service),
        *_gauges(workers),
        *(_of_each(workers, key, name, meaning) for key, (name, meaning) in WORKER.items()),
    ]
    return "\n".join(families)


def _totals(service: Mapping[str, Any]) -> list[str]:
    reloads = [({"result": result}, service["reloads"][result]) for result in ("ok", "failed")]
    return [
        _family("sockact_reloads_total", "counter", "Reloads since the main process has started.", reloads),
        _family("sockact_requests_total", "counter", "Requests begun.", [({}, service["requests"])]),
    ]


def _gauges(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    in_flight, connections = _sum(workers, "in_flight"), _sum(workers, "connections")
    phases = Counter(each["phase"] for each in workers)
    by_phase = [({"phase": phase}, phases[phase]) for phase in ("starting", "ready", "draining")]
    return [
        _family("sockact_requests_in_flight", "gauge", "Requests in flight.", [({}, in_flight)]),
        _family("sockact_connections", "gauge", "Open connections.", [({}, connections)]),
        _family("sockact_workers", "gauge", "Workers by phase.", by_phase),
    ]


def _of_each(workers: Iterable[Mapping[str, Any]], key: str, name: str, meaning: str) -> str:
    samples = [
        ({"worker": each["worker"], "generation": each["generation"]}, each[key])
        for each in workers
        if each[key] is not None
    ]
    return _family(name, "gauge", meaning, samples)


def _sum(workers: Iterable[Mapping[str, Any]], key: str) -> int:
    return sum(each[key] or 0 for each in workers)


def _family(
    name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, object], float]]
) -> str:
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
        lines.append(visible(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"))
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return visible(text).replace("\\", r"\\").replace('"', r"\"")
