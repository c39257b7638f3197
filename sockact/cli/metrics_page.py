"""Makes docs/metrics.md from the code: `python -m sockact.cli.metrics_page >docs/metrics.md`."""

from __future__ import annotations

import sys

from sockact.protocols.metrics import Family, families, statistics_overview
from sockact.protocols.service_events import Cause, ServiceEvents
from sockact.protocols.statistics import Reason, Statistics

INTRODUCTION = """# Metrics

<!-- Made by `python -m sockact.cli.metrics_page >docs/metrics.md` from the code; do not edit it. -->

A socket with `FileDescriptorName=metrics` is answered by sockact alone: `GET /metrics` in the text format
of Prometheus, or in OpenMetrics if the scraper asks for it.

    pip install 'sockact[metrics]'

    # /etc/systemd/system/app-metrics.socket
    [Socket]
    ListenStream=127.0.0.1:9100
    FileDescriptorName=metrics
    Service=app.service

    [Install]
    WantedBy=sockets.target

The service names it, too: `Sockets=app.socket app-metrics.socket`. Without prometheus-client the service
does not start, and says so. `sockact status UNIT --prometheus` writes the same without that library and
without a port, for a timer and node_exporter's textfile collector.

The supervisor answers, from memory in which each worker counts its own work, so it waits for nobody: a
worker may hang, be killed, or be in the middle of a reload. It needs about 6 MB more memory for
prometheus-client. A process that serves alone (`--workers=0`) answers in a thread beside the app. A text is
made ten times a second at most, a scraper has five seconds, and there are 64 at a time, so that none can
keep it busy.

No counter steps back over reloads, restarts and the ends of workers, SIGKILL included, that of the
supervisor too: totals are in memory that systemd stores (`FileDescriptorStoreMax=`, as in
units/app.service). A stop begins anew, and so does a restart without that store. A response counts in the
worker that has given its last byte to the kernel or, where the client reads slowly, to the buffer for it.

`units/grafana.json` is a dashboard for Grafana.

## Metrics of sockact

| metric | type | labels | meaning |
|---|---|---|---|
"""

REMARKS = """
- `code`: `1xx` to `5xx`. An accepted WebSocket is a `1xx`, and its duration that of the handshake.
- `state`: `idle`, `active` with a request, `websocket`.
{reasons}
{causes}
- Requests are HTTP only. Connections of stream handlers count; they are idle all the time.
- Connections with a request may be more or fewer by one than `idle` and `active` say: nothing is locked.

## The app's own metrics

Where there is such a socket, sockact sets `PROMETHEUS_MULTIPROC_DIR` before the app is imported, so that
prometheus-client keeps the app's numbers in files, and adds those of all workers to its answer. Live gauges
of a worker (`multiprocess_mode="livesum"` and so on) go with its end; the other gauges stay, as
prometheus-client has it. Counters, histograms and summaries of ended workers are added up: they do not step
back over reloads, and over restarts if the unit has `RuntimeDirectory=` with
`RuntimeDirectoryPreserve=restart`, as units/app.service has.

    from prometheus_client import Counter
    ORDERS = Counter("shop_orders", "Orders.", ["kind"])

- The unit may set `PROMETHEUS_MULTIPROC_DIR` itself; that folder must be there, and it is never emptied.
- A program that calls `sockact.serve` with `workers=0` imports prometheus-client first: set it in the unit.
- Metrics called `sockact_` are left out, and so are exemplars, which this mode does not have.
- An app that has written what cannot be read loses its own metrics, not those of sockact.
"""


def page() -> str:
    """Return the whole text."""
    rows = "".join(map(_row, every()))
    reasons = _list("reason", [(each.name, _MEANINGS[each]) for each in Reason])
    causes = _list("cause", [(each.name, _CAUSES[each]) for each in Cause])
    return INTRODUCTION + rows + REMARKS.format(reasons=reasons, causes=causes)


def every() -> list[Family]:
    """Return all metrics, of a service in which nothing has happened."""
    worker = {"worker": 1, "generation": 1, "version": "", "phase": "ready", "uptime": 0.0, "rss": 0}
    service = {
        "phase": "active",
        "generation": 1,
        "paused": 0.0,
        "workers": [worker],
        "statistics": statistics_overview(Statistics(), ServiceEvents()),
    }
    return families(service)


def _row(family: Family) -> str:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    return f"| `{name}` | {family.kind} | {' '.join(f'`{each}`' for each in labels)} | {family.meaning} |\n"


def _list(label: str, meanings: list[tuple[str, str]]) -> str:
    lines = [f"- `{label}`:", *(f"  `{name.lower()}` {meaning};" for name, meaning in meanings)]
    return "\n".join(lines)[:-1] + "."


_MEANINGS = {
    Reason.CLIENT: "the client has closed it, or gone",
    Reason.COMPLETE: "its last response is complete, or its handler has ended",
    Reason.ERROR: "the input was no HTTP, or the app has failed amid a response",
    Reason.TIMEOUT: "the client was too slow, or silent",
    Reason.DRAIN: "a drain has closed it, after its grace",
    Reason.ABORTED: "the drain timeout was over",
    Reason.EXIT: "the worker has ended with it",
}
_CAUSES = {
    Cause.REPLACED: "a reload, a stop or SIGTTOU, after its drain",
    Cause.RECYCLED: "`max_requests` or `max_worker_age`",
    Cause.MEMORY: "`max_worker_memory`, or memory was short",
    Cause.WATCHDOG: "no ping for `worker_watchdog`",
    Cause.TIMEOUT: "it had not started, drained or ended in time, and was killed",
    Cause.OOM: "the kernel has killed it for lack of memory",
    Cause.SIGNAL: "a crash, or a kill from outside",
    Cause.ERROR: "it has exited by itself",
}


if __name__ == "__main__":
    sys.stdout.write(page())
