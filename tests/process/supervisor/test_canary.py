"""A canary: new code that serves its share beside the old workers, and is compared with them."""

from __future__ import annotations

import os
import re
import signal

import pytest

from sockact.protocols import control
from tests.support.canary_service import CanaryService
from tests.support.commands import ask_for_reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import LIMIT, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import Service, stop, wait_answered_by

LONG = ("--workers=2", "--canary=1", "--canary-for=10min", "--probation=0.1s")
QUICK = ("--workers=2", "--canary=1", "--canary-for=3s")
NEW = '"version": "2"'


def begin(service: Service, *options: str) -> tuple[int, int]:
    """Start, and reload up to the moment when a canary serves; return the main process and the canary."""
    pid = service.start(*(options or LONG))
    old = workers(pid)
    install(service.directory, "2")
    service.manager.signal(signal.SIGHUP)
    wait_answered_by(service, lambda text: NEW in text)
    (canary,) = set(workers(pid)) - set(old)
    return pid, canary


def failed(service: Service) -> str:
    """Wait until the reload is refused, and return why."""
    wait_until(lambda: any("reload failed" in each for each in service.manager.said("STATUS")))
    return next(each for each in service.manager.said("STATUS") if "reload failed" in each)


def test_a_release_that_fails_is_refused_with_the_numbers_and_nothing_else_is_lost() -> None:
    with CanaryService(*QUICK) as service:
        ok, text = service.reload(fails=0.5)
        assert not ok
        assert re.match("reload failed: the canary is worse in (5xx|exceptions|5xx and exceptions): ", text)
        assert "; the others: 0.0 % 5xx" in text

        before = service.results["1", "200"]
        wait_until(lambda: service.results["1", "200"] > before + 100)
        assert service.lost == {}
        assert service.status()["generation"] == 1
        wait_until(lambda: len(service.status()["workers"]) == 2)
    assert {version for version, status in service.results if status == "500"} == {""}


def test_a_release_that_is_as_good_serves_and_nothing_is_lost() -> None:
    with CanaryService(*QUICK) as service:
        ok, text = service.reload()
        assert (ok, text.split(";")[0]) == (True, "gen 2 is ready"), text

        wait_until(lambda: service.results["2", "200"] > 100)
        wait_until(lambda: len(service.status()["workers"]) == 2)
        assert service.lost == {}


def test_a_killed_worker_is_seen_as_a_loss() -> None:
    """The twin of both: what they would see."""
    with CanaryService("--workers=1", "--no-handover") as service:
        wait_until(lambda: service.results["1", "200"] > 20)
        for worker in service.status()["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)

        wait_until(lambda: bool(service.lost))


def test_a_canary_gets_kept_connections_too(service: Service) -> None:
    pid = service.start(*LONG, "--keep-alive=10min")
    clients = [service.client() for _ in range(12)]
    old = set(workers(pid))
    install(service.directory, "2")
    service.manager.signal(signal.SIGHUP)

    wait_until(lambda: any(client.get().json["pid"] not in old for client in clients))
    (canary,) = set(workers(pid)) - old

    os.kill(canary, signal.SIGTERM)  # it stops by itself, and its connections go back
    assert "stopped by itself" in failed(service)
    wait_until(lambda: {client.get().json["pid"] for client in clients} <= old)
    stop(service)


def test_a_canary_that_dies_fails_the_reload(service: Service) -> None:
    pid, canary = begin(service)
    os.kill(canary, signal.SIGKILL)

    assert "killed by SIGKILL" in failed(service)
    wait_until(lambda: len(workers(pid)) == 2)
    assert '"version": "1"' in get(service.listener).text
    stop(service)


def test_a_stop_ends_a_canary_and_the_reload(service: Service) -> None:
    service.start(*LONG)
    install(service.directory, "2")
    with ask_for_reload(service) as caller:
        wait_answered_by(service, lambda text: NEW in text)
        stop(service)

        assert caller.wait(LIMIT) == 1


def test_a_request_for_a_reload_waits_for_the_end_of_the_canary(service: Service) -> None:
    _, canary = begin(service)
    install(service.directory, "3")
    service.manager.signal(signal.SIGHUP)
    where = str(service.directory / "sockact.sock")
    assert control.request("status", where)["service"]["phase"] == "reloading"
    os.kill(canary, signal.SIGKILL)

    wait_answered_by(service, lambda text: '"version": "3"' in text)
    stop(service)


def test_sigusr2_aborts_no_canary(service: Service) -> None:
    pid, canary = begin(service)

    service.manager.signal(signal.SIGUSR2)
    wait_answered_by(service, lambda text: '"version": "1"' in text)

    assert canary in workers(pid)
    wait_answered_by(service, lambda text: NEW in text)
    status = control.request("status", str(service.directory / "sockact.sock"))["service"]["status"]
    assert "reloading, 2 workers ready" in status
    assert ", the canary of gen 2 serves" in status
    stop(service)


def test_a_canary_ends_with_its_supervisor(service: Service) -> None:
    pid, canary = begin(service)

    os.kill(pid, signal.SIGKILL)

    wait_gone(canary)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--workers=0", "--canary=1", "app:app"),
            "canary=1: expected other workers beside it, found none",
        ),
        (("--canary=1", "--", "cat"), "canary=1: expected an app of Python, found the program cat"),
        (("--surge=1", "--canary=2", "app:app"), "canary=2: expected at most surge=1"),
        (("--canary=1", "--canary-for=0", "app:app"), "canary_for=0: expected more than 0"),
    ],
    ids=["alone", "another program", "more than surge", "no time"],
)
def test_a_canary_that_makes_no_sense_is_refused(
    service: Service, options: tuple[str, ...], reason: str
) -> None:
    install(service.directory)

    service.manager.sockact(options[-1], *options[:-1], listeners=[service.listener])

    assert service.manager.wait_exit() == 78
    assert reason in service.manager.stderr()
