"""Signals that end a service, and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support.commands import ask_for_reload, reload, status
from tests.support.gate import Gate, install
from tests.support.http_client import Client
from tests.support.manager import Manager, listening, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import HANG, LONG, QUICK, Service, break_app

ROLES = pytest.mark.parametrize("role", [("--workers=0",), QUICK], ids=["alone", "supervised"])
CRASHES = (signal.SIGABRT, signal.SIGILL, signal.SIGTRAP, signal.SIGSEGV)


@ROLES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_by_either_signal_answers_what_is_in_flight(
    service: Service, role: tuple[str, ...], number: signal.Signals
) -> None:
    service.start(*role, *LONG)

    service.drain_and_end(number)


@ROLES
def test_a_second_sigterm_in_the_same_moment_is_the_same_stop(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, *LONG)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STATUS")
    held.release()

    assert client.read().status == 200
    client.close()
    assert service.manager.wait_exit() == 0


@ROLES
def test_a_second_sigterm_a_second_later_ends_it_at_once(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, *LONG)
    service.client().ask("/hold")
    service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    for _ in range(2):
        service.manager.wait_for("EXTEND_TIMEOUT_USEC")  # comes once a second

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 128 + signal.SIGTERM


def test_a_worker_that_is_told_again_answers_what_it_has(service: Service) -> None:
    pid = service.start("--workers=1", *LONG)
    (worker,) = workers(pid)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")

    for _ in range(2):
        service.manager.wait_for("EXTEND_TIMEOUT_USEC")  # comes once a second
        os.kill(worker, signal.SIGTERM)
    held.release()

    assert client.read().status == 200
    client.close()
    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("first", ["workers", "main"])
def test_a_stop_that_is_sent_to_workers_too_answers_what_is_in_flight(service: Service, first: str) -> None:
    """KillMode=control-group, or a terminal's Ctrl-C."""
    pid = service.start(*QUICK, *LONG)
    before = workers(pid)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    for targets in [before, [pid]] if first == "workers" else [[pid], before]:
        for target in targets:
            os.kill(target, signal.SIGTERM)
        wait_until(lambda: service.manager.stderr().count("phase=deactivating") >= len(before))
    service.manager.wait_for("STOPPING", "1")
    for _ in range(2):
        service.manager.wait_for("EXTEND_TIMEOUT_USEC")  # comes once a second: all signals have arrived
    held.release()

    assert client.read().status == 200
    client.close()
    assert service.manager.wait_exit() == 0
    assert "was killed by" not in service.manager.stderr()


@pytest.mark.parametrize("number", CRASHES)
def test_a_crash_is_no_stop(service: Service, number: signal.Signals) -> None:
    service.start()

    service.manager.signal(number)

    assert service.manager.wait_exit() == -number
    assert service.manager.said("STOPPING") == []


def test_an_app_that_crashes_ends_a_service_without_a_supervisor_with_its_status(service: Service) -> None:
    break_app_with_exit(service)
    service.start()

    service.client().ask("/exit")

    assert service.manager.wait_exit() == 7


def break_app_with_exit(service: Service) -> None:
    install(service.directory)
    break_app(service, HANG.replace('"/hang"', '"/exit"').replace("time.sleep(3600)", "os._exit(7)"))


def test_a_service_without_a_worker_can_be_reloaded_and_stopped(service: Service) -> None:
    break_app_with_exit(service)
    pid = service.start("--workers=1", "--probation=0.1s")
    for _ in range(3):  # the second time it waits before it starts another one
        wait_until(lambda: len(workers(pid)) == 1)
        for worker in workers(pid):
            os.kill(worker, signal.SIGKILL)
            wait_gone(worker)

    assert reload(service)[0] == 0
    for worker in workers(pid):
        os.kill(worker, signal.SIGKILL)
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0


@ROLES
def test_a_drain_timeout_of_zero_waits_for_nobody(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, "--drain-timeout=0", "--linger=0")
    service.client().ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert re.search(r"aborted: .*GET /hold", service.manager.stderr())


def test_sigusr2_to_a_supervisor_aborts_the_drains_of_its_workers(service: Service) -> None:
    service.start(*QUICK, "--drain-timeout=none")
    service.client().ask("/hold")
    service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")

    service.manager.signal(signal.SIGUSR2)

    assert service.manager.wait_exit() == 0
    assert re.search(r"aborted: .*GET /hold", service.manager.stderr())


def test_a_worker_whose_loop_hangs_in_the_drain_is_killed_from_outside(service: Service) -> None:
    install(service.directory)
    break_app(service, HANG)
    pid = service.start("--workers=1", "--drain-timeout=0.2s", "--linger=0.1s", "--shutdown-timeout=0.1s")
    (worker,) = workers(pid)
    service.client().ask("/hang")
    wait_until(lambda: "nanosleep" in Path(f"/proc/{worker}/wchan").read_text())

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert not Path(f"/proc/{worker}").exists()


@ROLES
def test_a_request_that_fails_is_not_counted_as_one_in_flight(
    service: Service, role: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, HANG.replace('"/hang"', '"/fail"').replace("time.sleep(3600)", "raise ValueError"))
    service.start(*role, *LONG)
    with service.client() as client:
        assert client.get("/fail").status == 500
        gone = service.client()
        gone.ask("/hold")
        held = service.gate.wait()
        gone.close()
        held.release()
        wait_until(lambda: status(service)["workers"][0]["in_flight"] in (0, None))
        wait_until(lambda: " 0 " in status(service)["status"] or ", 0 " in status(service)["status"])

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0


def test_of_too_many_old_generations_the_oldest_is_ended_by_force(service: Service) -> None:
    service.start("--workers=1", "--probation=0.1s", "--max-draining=1", *LONG)
    clients = []
    held = []
    for generation in range(2):
        client = service.client()
        client.ask("/hold")
        clients.append(client)
        held.append(service.gate.wait())
        assert reload(service)[0] == 0
        assert len(held) == generation + 1

    assert clients[0].at_eof()
    held[1].release()
    assert clients[1].read().status == 200
    assert service.manager.stderr().count("aborted: ") == 1


def test_the_manager_hears_of_nobody_but_the_main_process(service: Service) -> None:
    pid = service.start(*QUICK)
    for _ in range(2):
        before = workers(pid)
        assert reload(service)[0] == 0
        for worker in before:
            wait_gone(worker)

    assert {message.pid for message in service.manager.heard} == {pid}
    assert service.manager.said("STOPPING") == []
    assert service.manager.said("MAINPID") == []


def test_a_stop_during_a_reload_leaves_no_process(service: Service) -> None:
    pid = service.start(*QUICK)
    break_app(service, "async def lifespan(*_): await asyncio.Event().wait()")
    with ask_for_reload(service) as caller:
        wait_until(lambda: len(workers(pid)) == 4)
        everyone = workers(pid)
        service.manager.signal(signal.SIGTERM)

        assert service.manager.wait_exit() == 0
        assert caller.wait(20) == 1
    assert not any(Path(f"/proc/{worker}").exists() for worker in everyone)


@pytest.mark.parametrize("busy", ["web", "admin"])
def test_several_listeners_drain_at_the_same_time(
    manager: Manager, gate: Gate, tmp_path: Path, busy: str
) -> None:
    install(tmp_path)
    listeners = [listening(name="web"), listening(name="admin")]
    apps = [sys.executable, "-m", "sockact", "run", "web=app:app", "admin=app:app"]
    options = ("--linger=0.2s", "--drain-timeout=60s", "--control=none")
    manager.start([*apps, *options], listeners, GATE=gate.path)
    manager.wait_ready()
    clients = {each.name: Client(each.sock.getsockname()) for each in listeners if each.sock is not None}
    with clients.pop(busy) as at_work, clients.popitem()[1] as idle:
        idle.get()
        at_work.ask("/hold")
        held = gate.wait()
        manager.signal(signal.SIGTERM)

        assert idle.at_eof()
        held.release()
        assert at_work.read().status == 200
    assert manager.wait_exit() == 0
    for listener in listeners:
        listener.close()
