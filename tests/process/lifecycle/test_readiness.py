"""Health checks of load balancers: on the app's sockets, and on one of sockact's own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import reload, reload_all
from tests.support.http_client import Answer, Client, get
from tests.support.manager import LIMIT, Manager, listening, wait_until
from tests.support.service import Service

PATHS = ("--ready-path=/-/ready", "--live-path=/-/live")
SHAPES = ["--workers=0", "--workers=2"]


@pytest.fixture
def health() -> Iterator[Listener]:
    """Give the listener on which sockact answers itself."""
    listener = listening(name="health")
    yield listener
    listener.close()


def stop(service: Service) -> None:
    """Begin a stop."""
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")


def refusal(service: Service) -> Answer | None:
    """Ask whether a worker is ready, and return its answer if it is not; another one may yet be."""
    answer = get(service.listener, "/-/ready")
    return answer if answer.status == 503 else None


@pytest.mark.parametrize("shape", SHAPES)
def test_readiness_and_life_are_told_without_the_app(service: Service, shape: str) -> None:
    service.start(shape, *PATHS)

    ready, live = get(service.listener, "/-/ready"), get(service.listener, "/-/live")

    assert (ready.status, ready.text, live.status, live.text) == (200, "ready\n", 200, "live\n")
    assert "pid" in get(service.listener, "/").text  # the rest is the app's


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stop_goes_on_serving_while_load_balancers_notice(service: Service, shape: str) -> None:
    service.start(shape, *PATHS, "--drain-delay=60s")
    stop(service)

    answer = wait_until(lambda: refusal(service))

    assert (answer.text, answer.headers["retry-after"]) == ("draining\n", "5")
    assert get(service.listener, "/-/live").status == 200
    assert [get(service.listener, "/").status for _ in range(3)] == [200] * 3
    service.manager.signal(signal.SIGUSR2)  # which ends the delay as well
    assert service.manager.wait_exit() == 0


def test_the_delay_ends_by_itself(service: Service) -> None:
    service.start("--workers=1", "--drain-delay=0.3s")

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_it_stays_green_throughout_a_reload(service: Service, shape: str) -> None:
    service.start(shape, *PATHS, "--drain-delay=60s", "--probation=0.1s")
    client = service.client()
    client.ask("/hold")  # keeps the old worker
    held = service.gate.wait()
    old = service.client()
    old.get()

    service.manager.signal(signal.SIGHUP)
    service.manager.wait_for("RELOADING", "1")
    if shape != "--workers=0":
        service.manager.wait_ready()
    old.ask("/-/ready")

    assert old.read().status == 200
    held.release()
    assert client.read().status == 200


def test_no_worker_waits_for_load_balancers_when_it_is_replaced(service: Service) -> None:
    pid = service.start("--workers=2", "--drain-delay=60s", "--probation=0.1s", "--no-handover")

    reload_all(service, pid)  # which waits for the end of the old ones


def test_no_trial_waits_for_load_balancers_at_its_end(service: Service) -> None:
    """Nobody connects to it; the reload would wait for its end."""
    service.start("--workers=0", "--drain-delay=60s")

    assert reload(service)[0] == 0

    assert "does not end" not in service.manager.stderr()


@pytest.mark.parametrize(("mode", "status"), [("serve", 200), ("refuse", 503)])
def test_what_becomes_of_requests_in_the_drain_of_a_stop(service: Service, mode: str, status: int) -> None:
    service.start(f"--drain-mode={mode}", "--linger=20s")
    busy, old = service.client(), service.client()
    old.get()
    busy.ask("/hold")
    held = service.gate.wait()
    stop(service)
    wait_until(lambda: "draining, " in service.manager.said("STATUS")[-1])

    answer = old.get()

    assert (answer.status, answer.closes) == (status, True)
    held.release()
    assert busy.read().status == 200
    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("mode", ["serve", "refuse"])
def test_a_reload_refuses_nothing(service: Service, mode: str) -> None:
    service.start("--workers=1", f"--drain-mode={mode}", "--probation=0.1s", "--no-handover")
    busy, old = service.client(), service.client()
    old.get()
    busy.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGHUP)
    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()

    assert old.get().status == 200
    held.release()
    assert busy.read().status == 200


BUSY = """
import os, time

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []

async def busy(scope, receive, send):
    if scope["type"] == "http":
        open("busy", "w").close()
        while not os.path.exists("enough"):
            time.sleep(0.01)  # holds up the whole loop
"""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_busy_app_does_not_make_the_host_look_dead(
    manager: Manager, listener: Listener, health: Listener, shape: str
) -> None:
    Path("app.py").write_text(BUSY)
    manager.sockact("app:busy", shape, "--worker-watchdog=none", listeners=[listener, health])
    manager.wait_ready()
    assert listener.sock
    with Client(listener.sock.getsockname()) as client:
        client.ask("/")
        wait_until(lambda: Path("busy").exists())

        assert get(health, "/").text == "ready\n"
        assert get(health, "/-/live").text == "live\n"
        assert get(health, "/other").status == 404
        Path("enough").touch()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_socket_named_health_turns_red_as_the_stop_begins(
    service: Service, health: Listener, shape: str
) -> None:
    service.start(shape, "--drain-delay=60s", more=[health])
    assert get(health, "/-/ready").status == 200
    stop(service)

    wait_until(lambda: get(health, "/-/ready").status == 503)
    assert get(health, "/-/live").status == 200
    assert get(service.listener, "/").status == 200


def test_curl_can_ask_it(service: Service, health: Listener) -> None:
    service.start("--workers=1", more=[health])

    said = subprocess.run(
        ["curl", "--silent", "--fail", "--head", f"http://{health.address}/"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )

    assert said.stdout.startswith("HTTP/1.1 200 OK\n")


def test_clients_that_say_nothing_do_not_keep_it_from_others(service: Service, health: Listener) -> None:
    service.start("--workers=1", more=[health])
    assert health.sock
    silent = [Client(health.sock.getsockname()) for _ in range(32)]

    assert get(health, "/").status == 200
    for client in silent:
        client.close()
