"""A listener named `metrics` under systemd: no counter steps back, whatever ends or is replaced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.load import load
from tests.support.machine.machine import Machine, MachineError
from tests.support.machine.roots import prepare
from tests.support.machine.scraper import PORT, counters, scraping, steps_back
from tests.support.machine.service import ALONE, install, main_pid, reload, wait_until, wheels
from tests.support.machine.supervised import QUICK, SIZE, kill, start, workers

SOCKET = f"""
[Socket]
ListenStream=127.0.0.1:{PORT}
FileDescriptorName=metrics
Service=app.service
"""
SERVICE = "Sockets=app-metrics.socket\nRestartSec=0.1s\nStartLimitIntervalSec=0\n"
CLIENTS = ("persistent:4@20", "one-shot:4@10")
OWN = """
from prometheus_client import Counter
ORDERS = Counter("shop_orders", "Orders.")
served = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        ORDERS.inc()
    await served(scope, receive, send)
"""
IN_FLIGHT = 8
ENDS = 4
"""The restarts, and the kill of a supervisor."""

REMOVE = """
systemctl stop app-metrics.socket app.service || :
rm -f /etc/systemd/system/app-metrics.socket
/opt/app/venv/bin/pip uninstall --quiet --yes prometheus-client
systemctl daemon-reload
"""


@pytest.fixture
def without_library(app: Machine) -> Iterator[Machine]:
    """The machine with a listener for metrics, not started; prometheus-client is not installed."""
    app.write("/etc/systemd/system/app-metrics.socket", SOCKET)
    yield app
    app.run("sh", "-uc", REMOVE)


@pytest.fixture
def measured(without_library: Machine, root: Path) -> Machine:
    """The same with prometheus-client."""
    prepare(root, "metrics")
    machine = without_library
    found = f"{wheels(machine)}/metrics"
    pip = ("/opt/app/venv/bin/pip", "install", "--quiet", "--no-index", "--find-links", found)
    machine.run(*pip, "prometheus-client", timeout=120)
    return machine


def begin(machine: Machine, *options: str, service: str = "") -> None:
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "app-metrics.socket")
    start(machine, *options, service=SERVICE + service)


def restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "app.service")


def test_no_counter_steps_back_over_reloads_restarts_and_kills(measured: Machine) -> None:
    begin(measured, *QUICK)
    install(measured, 1, OWN)
    reload(measured)
    with load(measured, *CLIENTS) as clients, scraping(measured) as scraper:
        for version in range(2, 12):
            install(measured, version, OWN)
            reload(measured)
        for _ in range(3):
            restart(measured)
        wait_until(lambda: len(workers(measured)) == SIZE)  # those before have drained
        kill(measured, min(workers(measured)))
        wait_until(lambda: 'sockact_worker_ends_total{cause="signal"} 1.0' in scraper.wait())
        before = main_pid(measured)
        kill(measured, before)
        wait_until(lambda: main_pid(measured) not in (0, before))
        wait_until(lambda: 'phase="active"' in scraper.wait())
        report = clients.report()
        scraper.wait()
        texts = scraper.stop()

    assert steps_back(texts) == []
    # A supervisor that ends may have begun to answer, as to any client of its own servers.
    assert len(scraper.failures) <= ENDS, scraper.failures
    last = counters(texts[-1])
    assert last["shop_orders_total"] >= report["total"]["requests"] - report["lost"] - IN_FLIGHT
    answered = sum(value for name, value in last.items() if name.startswith("sockact_responses_total"))
    # A worker is killed between the last byte and the count, at worst with each of its clients.
    assert answered >= report["total"]["requests"] - report["lost"] - IN_FLIGHT
    assert last["sockact_requests_total"] >= answered
    assert last['sockact_reloads_total{result="ok"}'] == 11
    assert last["sockact_connections_moved_total"] > 0
    print(f"{measured.name}: {len(texts)} scrapes, {answered:.0f} responses, {len(last)} counters")


def test_a_process_that_serves_alone_goes_on_counting(measured: Machine) -> None:
    begin(measured, service=ALONE)
    with load(measured, CLIENTS[0]), scraping(measured) as scraper:
        install(measured, 2)
        reload(measured)
        restart(measured)
        before = main_pid(measured)
        kill(measured, before)
        wait_until(lambda: main_pid(measured) not in (0, before))
        wait_until(lambda: 'phase="active"' in scraper.wait())
        scraper.wait()
        texts = scraper.stop()

    assert steps_back(texts) == []
    assert counters(texts[-1])['sockact_reloads_total{result="ok"}'] == 1


def test_a_stop_begins_anew_and_that_step_back_is_seen(measured: Machine) -> None:
    begin(measured, *QUICK)
    with load(measured, CLIENTS[0]), scraping(measured) as scraper:
        wait_until(lambda: 'code="2xx"} 0.0' not in scraper.wait())
        before = scraper.texts[-1]
    measured.run("systemctl", "stop", "app.service")
    measured.run("systemctl", "start", "app.service")
    with scraping(measured) as scraper:
        after = scraper.texts[-1]

    assert any("sockact_requests_total" in each for each in steps_back([before, after]))


def test_metrics_are_answered_while_all_workers_hang(measured: Machine) -> None:
    begin(measured, *QUICK)
    pids = workers(measured)
    measured.run("kill", "-STOP", *map(str, pids))
    with scraping(measured) as scraper:
        assert 'sockact_workers{phase="ready"} 2.0' in scraper.wait()
    measured.run("kill", "-CONT", *map(str, pids))


def test_a_missing_library_is_told_at_the_start(without_library: Machine) -> None:
    without_library.run("systemctl", "daemon-reload")
    without_library.run("systemctl", "start", "app-metrics.socket")
    before = time.time()
    with pytest.raises(MachineError):
        start(without_library, *QUICK, service=f"{SERVICE}Restart=no\n")
    journal = without_library.journal("app.service", since=before)
    assert "expected prometheus-client, found none" in journal
    assert "pip install 'sockact[metrics]'" in journal
