"""A listener named `metrics` is answered by sockact itself, beside whatever the app does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import ask, reload
from tests.support.http_client import get
from tests.support.manager import Manager, listening, wait_until
from tests.support.processes import workers
from tests.support.service import MODES, QUICK, Service, break_app

pytest.importorskip("prometheus_client")

COUNTING = """
import prometheus_client
asked = prometheus_client.Counter("shop_asked", "Requests.")
inner = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        asked.inc()
    await inner(scope, receive, send)
"""


@pytest.fixture
def metrics() -> Iterator[Listener]:
    """Give the listener that is scraped."""
    listener = listening(name="metrics")
    yield listener
    listener.close()


def scrape(metrics: Listener) -> str:
    return get(metrics, "/metrics").text


@MODES
def test_metrics_have_what_was_answered(service: Service, metrics: Listener, mode: tuple[str, ...]) -> None:
    service.start(*mode, more=[metrics])
    for _ in range(3):
        assert get(service.listener).status == 200
    wait_until(lambda: 'sockact_connections_closed_total{reason="client"} 3.0' in scrape(metrics))
    text = scrape(metrics)
    assert 'sockact_responses_total{code="2xx"} 3.0' in text
    assert 'sockact_connections{state="idle"} 0.0' in text
    assert get(metrics, "/").status == 404


def test_the_openmetrics_format_is_for_those_who_ask(service: Service, metrics: Listener) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    service.start(*QUICK, more=[metrics])
    found = get(metrics, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert found.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(found.text)}
    assert {"sockact_requests", "sockact_request_duration_seconds", "sockact_workers"} <= names


@MODES
def test_the_apps_own_counters_go_on_over_a_reload(
    service: Service, metrics: Listener, mode: tuple[str, ...]
) -> None:
    from tests.support.gate import install

    install(service.directory)
    break_app(service, COUNTING)
    service.start(*mode, more=[metrics])
    get(service.listener)
    assert "shop_asked_total 1.0" in scrape(metrics)
    assert reload(service)[0] == 0
    get(service.listener)
    wait_until(lambda: "shop_asked_total 2.0" in scrape(metrics))
    assert 'sockact_reloads_total{result="ok"} 1.0' in scrape(metrics)


def test_the_end_of_a_worker_is_counted_by_its_cause(service: Service, metrics: Listener) -> None:
    import os

    pid = service.start(*QUICK, more=[metrics])
    get(service.listener)
    answered = 'sockact_responses_total{code="2xx"} 1.0'
    wait_until(lambda: answered in scrape(metrics))  # it is counted after the client has it
    os.kill(workers(pid)[0], signal.SIGKILL)
    wait_until(lambda: 'sockact_worker_ends_total{cause="signal"} 1.0' in scrape(metrics))
    assert answered in scrape(metrics)


@MODES
def test_a_pause_is_seen_by_the_time_that_is_left(
    service: Service, metrics: Listener, mode: tuple[str, ...]
) -> None:
    service.start(*mode, more=[metrics])
    assert "sockact_pause_seconds_left 0.0" in scrape(metrics)
    assert ask(service, "--for=10min", verb="pause").returncode == 0
    wait_until(lambda: 0 < left(scrape(metrics)) <= 600)  # a scrape may be as old as `metrics.FRESH`
    assert ask(service, verb="resume").returncode == 0
    wait_until(lambda: not left(scrape(metrics)))


def left(text: str) -> float:
    """Return how long the pause lasts, in seconds."""
    return float(text.split("\nsockact_pause_seconds_left ")[1].split()[0])


def test_without_the_library_the_start_says_what_is_missing(
    manager: Manager, service: Service, metrics: Listener
) -> None:
    from tests.support.gate import install

    install(service.directory)
    (service.directory / "prometheus_client.py").write_text("raise ImportError('made up')\n")
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "PYTHONPATH": str(service.directory)}
    manager.sockact("app:app", *QUICK, listeners=[service.listener, metrics], **environ)
    assert manager.wait_exit() == 78
