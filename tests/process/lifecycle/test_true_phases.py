"""A service that serves says so, whatever it does beside it: to `status`, Prometheus and load balancers."""

from __future__ import annotations

import signal

import pytest

from tests.support.commands import ask, ask_for_reload, status
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import listening
from tests.support.service import SLOW_STARTUP, Service, break_app

READY = "--ready-path=/-/ready"
ROLES = ["--workers=0", "--workers=1"]


def rows(service: Service) -> list[str]:
    return [row["phase"] for row in status(service)["workers"]]


def counted(service: Service) -> dict[str, str]:
    """Return how many workers are in which phase, as Prometheus reads it."""
    lines = ask(service, "--prometheus").stdout.splitlines()
    found = [line.split() for line in lines if line.startswith("sockact_workers{")]
    return {name.split('"')[1]: value for name, value in found}


def test_a_service_that_tries_new_code_is_as_ready_as_before(service: Service) -> None:
    service.start("--workers=0", READY)
    break_app(service, SLOW_STARTUP)
    with ask_for_reload(service) as caller:
        trial = service.gate.wait()

        shown = status(service)
        assert (shown["phase"], rows(service)) == ("reloading", ["ready"])
        assert shown["status"] == "gen 1: reloading, trying the new code"
        assert counted(service) == {"starting": "0", "ready": "1", "draining": "0"}
        assert 'sockact_info{phase="reloading",generation="1"' in ask(service, "--prometheus").stdout
        assert (get(service.listener, "/-/ready").status, get(service.listener, "/").status) == (200, 200)

        trial.release()
        service.gate.wait().release()  # the new code itself
        caller.communicate()
    assert rows(service) == ["ready"]


def test_a_supervisor_that_tries_new_code_has_one_worker_that_is_ready_and_one_that_starts(
    service: Service,
) -> None:
    service.start("--workers=1", READY)
    break_app(service, SLOW_STARTUP)
    with ask_for_reload(service) as caller:
        trial = service.gate.wait()

        assert status(service)["phase"] == "reloading"
        assert sorted(rows(service)) == ["ready", "starting"]
        assert get(service.listener, "/-/ready").status == 200

        trial.release()
        caller.communicate()


def test_a_service_that_is_about_to_drain_still_serves(service: Service) -> None:
    """Only its readiness is red, so that load balancers notice."""
    health = listening(name="health")
    service.start("--workers=0", READY, "--drain-delay=60s", more=[health])
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")

    assert get(service.listener, "/").status == 200
    assert (status(service)["phase"], rows(service)) == ("deactivating", ["ready"])
    assert counted(service) == {"starting": "0", "ready": "1", "draining": "0"}
    for where, path in ((service.listener, "/-/ready"), (health, "/-/ready")):
        answer = get(where, path)
        assert (answer.status, answer.text) == (503, "draining\n")
    health.close()


def test_what_drains_does_not_serve_any_more(service: Service) -> None:
    service.start("--workers=0")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STATUS", "gen 1: deactivating, draining")

    assert rows(service) == ["draining"]
    assert counted(service) == {"starting": "0", "ready": "0", "draining": "1"}
    held.release()
    assert client.read().status == 200


@pytest.mark.parametrize("role", ROLES)
def test_a_service_that_has_not_started_does_not_say_that_it_serves(service: Service, role: str) -> None:
    install(service.directory)
    break_app(service, SLOW_STARTUP)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    service.manager.sockact("app:app", role, listeners=[service.listener], **environ)
    start = service.gate.wait()

    shown = status(service)
    assert (shown["phase"], rows(service)) == ("activating", ["starting"])
    assert counted(service) == {"starting": "1", "ready": "0", "draining": "0"}
    start.release()
    service.manager.wait_ready()
    assert rows(service) == ["ready"]


@pytest.mark.parametrize("role", ROLES)
def test_after_a_reload_that_was_refused_all_is_as_it_was(service: Service, role: str) -> None:
    service.start(role, READY)
    break_app(service, "x = (")
    with ask_for_reload(service) as caller:
        caller.communicate()
        assert caller.returncode == 1

    assert (status(service)["phase"], rows(service)) == ("active", ["ready"])
    assert get(service.listener, "/-/ready").status == 200
