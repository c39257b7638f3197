"""The metrics of a service, made of its overview: the same for its own listener and `sockact status`.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sockact.protocols.histogram import Histogram
from sockact.protocols.service_events import COUNT, Cause, ServiceEvents
from sockact.protocols.statistics import CLASSES, VERSION, WORDS, Reason, Statistics

PREFIX = "sockact_"


class Sample(NamedTuple):
    """One number of a metric.

    Attributes:
        suffix: behind the metric's name: `_total`, or those of a histogram.
        labels: its labels.
        value: the number.
    """

    suffix: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """A metric with all its numbers.

    Attributes:
        name: its name, without `_total`.
        kind: `counter`, `gauge` or `histogram`.
        meaning: its meaning in one sentence.
        samples: its numbers.
    """

    name: str
    kind: str
    meaning: str
    samples: Sequence[Sample]


def statistics_overview(statistics: Statistics, events: ServiceEvents) -> dict[str, Any]:
    """Return `statistics` as in `sockact.protocols.overview`."""
    return {"layout": VERSION, "words": statistics.words, "events": events.numbers}


def families(service: Mapping[str, Any]) -> list[Family]:
    """Return the metrics of a service, by its overview (see `sockact.protocols.overview`).

    An older service has no statistics, nor has one in which memory for them could not be had; what others
    have written is not believed.
    """
    found = _statistics(service.get("statistics"))
    workers = service["workers"]
    every = [*_of_service(service), *_of_pause(service.get("paused")), *_of_workers(workers)]
    if found is None:
        requests = [Sample("_total", {}, service["requests"])]
        in_flight = [Sample("", {}, _sum(workers, "in_flight"))]
        return [
            *every,
            Family(f"{PREFIX}requests", "counter", _REQUESTS, requests),
            Family(f"{PREFIX}requests_in_flight", "gauge", _IN_FLIGHT, in_flight),
            *_reloads(service["reloads"]["ok"], service["reloads"]["failed"]),
        ]
    statistics, events = found
    return [
        *every,
        *_of_requests(statistics),
        *_of_connections(statistics),
        *_delays(statistics),
        *_of_events(events),
    ]


_REQUESTS = "Requests begun."
_IN_FLIGHT = "Requests without a complete response."


def _statistics(told: Any) -> tuple[Statistics, ServiceEvents] | None:
    if not isinstance(told, Mapping) or told.get("layout") != VERSION:
        return None
    words, events = _counts(told.get("words"), WORDS), _counts(told.get("events"), COUNT)
    return None if words is None or events is None else (Statistics(words), ServiceEvents(events))


def _counts(found: Any, count: int) -> tuple[int, ...] | None:
    listed = isinstance(found, list | tuple) and len(found) == count
    return tuple(found) if listed and all(type(each) is int and each >= 0 for each in found) else None


def _of_service(service: Mapping[str, Any]) -> Iterator[Family]:
    workers = service["workers"]
    known = [each for each in workers if each["version"] and each["generation"] == service["generation"]]
    info = {
        "phase": service["phase"],
        "generation": str(service["generation"]),
        "version": known[0]["version"] if known else "",
    }
    text = "The phase, generation and version of the service."
    yield Family(f"{PREFIX}info", "gauge", text, [Sample("", info, 1)])
    number = [Sample("", {}, service["generation"])]
    yield Family(f"{PREFIX}generation", "gauge", "The number of the generation that serves.", number)
    phases = Counter(each["phase"] for each in workers)
    by_phase = [Sample("", {"phase": phase}, phases[phase]) for phase in ("starting", "ready", "draining")]
    yield Family(f"{PREFIX}workers", "gauge", "Workers by phase.", by_phase)


def _of_pause(left: Any) -> Iterator[Family]:
    if type(left) in (int, float) and math.isfinite(left) and left >= 0:
        text = "Time until the pause of the service ends by itself; 0 without one."
        yield Family(f"{PREFIX}pause_seconds_left", "gauge", text, [Sample("", {}, left)])


def _of_workers(workers: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    for key, name, text in (
        ("uptime", "worker_uptime_seconds", "Time since the worker was started."),
        ("rss", "worker_resident_bytes", "Resident memory of the worker."),
    ):
        samples = [
            Sample("", {"worker": str(each["worker"]), "generation": str(each["generation"])}, each[key])
            for each in workers
            if each[key] is not None
        ]
        yield Family(PREFIX + name, "gauge", text, samples)


def _of_requests(found: Statistics) -> Iterator[Family]:
    codes = {f"{number}xx": number for number in CLASSES}
    responses = zip(codes, found.responses, strict=True)
    yield _counter("requests", _REQUESTS, found.begun)
    yield _counters("responses", "Complete responses by status class.", "code", responses)
    yield _counter("requests_aborted", "Requests that have got no complete response.", found.aborted)
    yield _counter("app_exceptions", "Requests in which the app has failed.", found.exceptions)
    in_flight = [Sample("", {}, found.in_flight)]
    yield Family(f"{PREFIX}requests_in_flight", "gauge", _IN_FLIGHT, in_flight)
    text = "Time from the head of a request to the last byte of its response, by status class."
    samples = [
        each
        for code, number in codes.items()
        for each in _histogram(found.durations(number), {"code": code})
    ]
    yield Family(f"{PREFIX}request_duration_seconds", "histogram", text, samples)


def _of_connections(found: Statistics) -> Iterator[Family]:
    websockets, active = found.websockets, found.in_flight
    states = {
        "idle": max(found.connections - websockets - active, 0),
        "active": active,
        "websocket": websockets,
    }
    samples = [Sample("", {"state": state}, number) for state, number in states.items()]
    yield Family(f"{PREFIX}connections", "gauge", "Open connections by state.", samples)
    yield _counter("connections_accepted", "Connections that were accepted.", found.opened)
    text = "Connections that another process has taken over, open."
    yield _counter("connections_moved", text, found.moved)
    text = "Connections that were taken over from another process, open."
    yield _counter("connections_received", text, found.received)
    closed = [(reason.name.lower(), found.closed(reason)) for reason in Reason]
    yield _counters("connections_closed", "Connections that were closed, by reason.", "reason", closed)


def _delays(found: Statistics) -> Iterator[Family]:
    text = "How late a timer of a worker's event loop was, while requests came."
    yield Family(f"{PREFIX}loop_lag_seconds", "histogram", text, [*_histogram(found.loop_lag)])
    text = "How long a request to a WSGI app has waited for a thread."
    yield Family(f"{PREFIX}thread_wait_seconds", "histogram", text, [*_histogram(found.thread_wait)])


def _of_events(events: ServiceEvents) -> Iterator[Family]:
    yield from _reloads(events.reloads(ok=True), events.reloads(ok=False))
    ends = [(cause.name.lower(), events.ends(cause)) for cause in Cause]
    yield _counters("worker_ends", "Workers that have ended, by cause.", "cause", ends)
    text = "Time from the order to drain to a worker's end."
    yield Family(f"{PREFIX}drain_seconds", "histogram", text, [*_histogram(events.drains)])


def _reloads(ok: int, failed: int) -> list[Family]:
    results = [("ok", ok), ("failed", failed)]
    return [_counters("reloads", "Reloads by result.", "result", results)]


def _counter(name: str, text: str, number: int) -> Family:
    return Family(PREFIX + name, "counter", text, [Sample("_total", {}, number)])


def _counters(name: str, text: str, label: str, numbers: Iterable[tuple[str, int]]) -> Family:
    samples = [Sample("_total", {label: value}, number) for value, number in numbers]
    return Family(PREFIX + name, "counter", text, samples)


def _histogram(found: Histogram, labels: Mapping[str, str] | None = None) -> Iterator[Sample]:
    labels = labels or {}
    bounds = (*(str(bound) for bound in found.bounds), "+Inf")
    for bound, number in zip(bounds, found.cumulative, strict=True):
        yield Sample("_bucket", {**labels, "le": bound}, number)
    yield Sample("_count", labels, found.count)
    yield Sample("_sum", labels, found.seconds)


def _sum(workers: Iterable[Mapping[str, Any]], key: str) -> int:
    return sum(each[key] or 0 for each in workers)
