"""The word of a supervisor reaches its workers, and it hears of each that goes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

import pytest

from tests.support.commands import reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import CHECKOUT, wait_until
from tests.support.noting import NOTED, extend, notes, wait_noted
from tests.support.processes import wait_gone, workers
from tests.support.service import Service, break_app, stop, wait_answered_by, wait_said
from tests.support.taking import PATIENT, WAYS, start_taking

ENDS_ITSELF = """
import signal
served_before = app

async def app(scope, receive, send):
    if scope.get("path") == "/end":
        os.kill(os.getpid(), getattr(signal, scope["query_string"].decode()))
    await served_before(scope, receive, send)
"""


def start(service: Service, *options: str, code: str = ENDS_ITSELF) -> int:
    install(service.directory)
    break_app(service, code)
    return service.start(*PATIENT, *options)


def lines(service: Service, text: str) -> list[str]:
    return [line for line in service.manager.stderr().splitlines() if text in line]


# A worker that goes by itself.


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_worker_that_stops_by_itself_is_replaced_before_it_has_gone(
    service: Service, number: str
) -> None:
    (old,) = workers(start(service, "--workers=1"))
    busy, idle = service.client(), service.client()
    idle.get()
    busy.ask("/hold")
    held = service.gate.wait()

    with service.client() as ending:
        ending.get(f"/end?{number}")
    wait_answered_by(service, lambda text: f'"pid": {old},' not in text)
    assert idle.get().json["pid"] != old
    held.release()
    assert busy.read().status == 200
    assert busy.get().json["pid"] != old

    wait_gone(old)
    assert service.manager.said("STOPPING") == []
    assert len(lines(service, "worker=1 gen=1 stopped by itself")) == 1


def test_a_worker_that_an_operator_ends_is_replaced_once(service: Service) -> None:
    pid = start(service, "--workers=2")
    old, other = sorted(workers(pid))
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    for worker in (old, other):
        os.kill(worker, signal.SIGTERM)
    wait_until(lambda: len(lines(service, " starts")) == 4 and len(lines(service, "is ready")) == 5)
    held.release()
    assert client.read().status == 200
    wait_gone(old)
    wait_gone(other)

    assert len(workers(pid)) == 2
    assert len(lines(service, " starts")) == 4


def test_a_worker_that_is_asked_to_end_at_once_by_others_is_replaced(service: Service) -> None:
    pid = start(service, "--workers=1")
    (old,) = workers(pid)
    os.kill(old, signal.SIGQUIT)

    wait_gone(old)
    assert service.client().get().json["pid"] in workers(pid)


def test_the_end_of_a_worker_that_stops_by_itself_is_bounded(service: Service) -> None:
    code = (
        ENDS_ITSELF
        + "\nimport time\n@__import__('sockact').hooks.on_drain\nasync def _(): time.sleep(3600)\n"
    )
    options = ("--workers=1", "--drain-timeout=0.2s", "--linger=0.1s", "--shutdown-timeout=0.1s")
    (old,) = workers(start(service, *options, code=code))
    service.client().ask("/end?SIGTERM")

    wait_gone(old)


def test_a_worker_that_stops_in_its_startup_fails_the_reload(service: Service) -> None:
    pid = start(service, "--workers=1")
    (old,) = workers(pid)
    ends = "@__import__('sockact').hooks.on_start\nasync def _(): os.kill(os.getpid(), 15)\n"
    break_app(service, ends)

    status, text = reload(service)

    assert status != 0
    assert "stopped by itself" in text
    assert service.client().get().json["pid"] == old
    wait_until(lambda: workers(pid) == [old])


def test_a_worker_that_stops_in_its_probation_fails_the_reload(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=60s")
    (old,) = workers(pid)
    break_app(service, "@__import__('sockact').hooks.on_ready\nasync def _(): os.kill(os.getpid(), 15)\n")

    status, text = reload(service)

    assert status != 0
    assert "stopped by itself" in text
    assert service.client().get().json["pid"] == old


def test_workers_that_stop_again_and_again_as_they_start_do_not_do_so_without_a_pause(
    service: Service,
) -> None:
    ends = "@__import__('sockact').hooks.on_ready\nasync def _(): os.kill(os.getpid(), 15)\n"
    start(service, "--workers=1", code=ends)
    wait_until(lambda: len(lines(service, "stopped by itself")) >= 5)

    times = [line.split(" pid=")[0] for line in lines(service, " starts")]
    first, *_, last = [time.mktime(time.strptime(each[:19], "%Y-%m-%d %H:%M:%S")) for each in times]
    assert last - first >= 1  # of 0.1, 0.2, 0.4 and 0.8 s


def test_a_worker_that_goes_alone_refuses_nobody_though_the_service_would_in_its_stop(
    service: Service,
) -> None:
    options = ("--workers=1", "--drain-delay=60s", "--drain-mode=refuse", "--ready-path=/-/ready")
    (old,) = workers(start(service, *options, "--no-handover"))
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    os.kill(old, signal.SIGTERM)
    wait_said(service, f"pid={old} sockact.lifecycle INFO: phase=deactivating")
    with service.client() as newcomer:
        assert newcomer.get("/-/ready").status == 200
    held.release()

    assert client.read().status == 200
    client.close()
    wait_gone(old)


FOREIGN = """
import os, signal, socket, sys, time
from sockact import Notifier
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
notifier = Notifier()
notifier.ready("")
signal.sigwait([signal.SIGUSR1])
notifier.stopping("")
time.sleep(3600)
"""


def test_a_foreign_program_that_stops_by_itself_is_replaced_and_its_end_is_bounded(
    service: Service,
) -> None:
    (service.directory / "program.py").write_text(FOREIGN)
    options = ("--workers=1", "--drain-timeout=0.3s", "--linger=0.1s", "--shutdown-timeout=0.1s")
    command = [sys.executable, "-m", "sockact", "run", *options, "--", sys.executable, "program.py"]
    environ = {"SOCKACT_WORKERS": "1", "PYTHONPATH": str(CHECKOUT)}
    pid = service.manager.start(command, [service.listener], **environ)
    service.manager.wait_ready()
    (old,) = workers(pid)
    os.kill(old, signal.SIGUSR1)

    wait_until(lambda: len(workers(pid)) == 2)
    wait_gone(old)
    assert len(workers(pid)) == 1


# Orders.


def test_no_newcomer_meets_old_code_whose_app_has_taken_sigterm(service: Service) -> None:
    start_taking(service, WAYS["add_signal_handler"], "--workers=2")
    install(service.directory, "2")
    assert reload(service)[0] == 0

    for _ in range(20):
        assert '"version": "2"' in get(service.listener).text


def test_a_stop_by_force_reaches_a_worker_whose_app_has_taken_all_signals(service: Service) -> None:
    takes = "[signal.signal(each, signal.SIG_IGN) for each in (1, 2, 3, 12, 15)]"
    start_taking(service, "pass", "--workers=1", more=ALL_THE_TIME.replace("TAKE", takes))
    service.client().ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    wait_said(service, "phase=deactivating: SIGTERM or SIGINT")
    service.manager.signal(signal.SIGUSR2)

    assert service.manager.wait_exit() == 0


ALL_THE_TIME = """
async def always():
    while True:
        TAKE
        await asyncio.sleep(0)

@sockact.hooks.on_start
async def begin():
    global taking
    taking = asyncio.create_task(always())
"""


def test_hooks_of_a_signal_run_once_when_it_was_ordered(service: Service) -> None:
    hooks = """
from sockact.hooks import before_signal, after_signal
for each in (signal.SIGTERM, signal.SIGHUP):
    before_signal(each)(lambda each=each: note(f"before {each.name}"))
    after_signal(each)(lambda each=each: note(f"after {each.name}"))
"""
    extend(service, hooks)
    service.start(*PATIENT, "--workers=1")
    assert reload(service)[0] == 0
    wait_noted(service, "after SIGTERM")
    stop(service)

    noted = [text for text in notes(service) if "SIG" in text]
    assert sorted(noted) == [
        "after SIGHUP",
        *["after SIGTERM"] * 2,
        "before SIGHUP",
        *["before SIGTERM"] * 2,
    ]


@pytest.mark.parametrize("options", [(), ("--no-handover",)], ids=["handover", "no handover"])
def test_workers_whose_app_ignores_sigterm_drain_when_the_supervisor_is_killed(
    service: Service, options: tuple[str, ...]
) -> None:
    takes = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    pid = start_taking(service, "pass", "--workers=1", *options, more=ALL_THE_TIME.replace("TAKE", takes))
    (worker,) = workers(pid)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGKILL)
    service.manager.wait_exit()
    wait_said(service, f"pid={worker} sockact.lifecycle INFO: phase=deactivating")
    held.release()

    assert client.read().status == 200
    client.close()
    wait_gone(worker)


def test_hooks_before_the_end_are_not_hurried_when_the_supervisor_is_killed(service: Service) -> None:
    extend(service, SLOW)
    (worker,) = workers(service.start(*PATIENT, "--workers=1"))
    service.manager.signal(signal.SIGKILL)
    service.manager.wait_exit()

    wait_gone(worker)
    assert "done" in notes(service)
    assert "was cut short" not in service.manager.stderr()


SLOW = """
import time

@hooks.before_signal(signal.SIGTERM)
def slow():
    time.sleep(1.5)
    note("done")
"""


# The end of a worker, for those who serve on.

MOURNED = (
    NOTED
    + """
@hooks.on_worker_exit
def mourn(pid): note(f"ended {pid}")
"""
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_worker_that_serves_is_told_when_another_has_ended(
    service: Service, number: signal.Signals
) -> None:
    pid = start(service, "--workers=3", code=MOURNED)
    (killed, *others) = workers(pid)
    os.kill(killed, number)

    wait_noted(service, f"ended {killed}")
    wait_until(lambda: len(workers(pid)) == 3 and killed not in workers(pid))
    told = next(each for each in others if f"ended {killed}" in notes(service, each))
    (untold,) = set(others) - {told}
    os.kill(untold, signal.SIGKILL)
    wait_noted(service, f"ended {untold}")
    assert notes(service).count(f"ended {killed}") == 1


def test_the_end_of_the_only_worker_is_told_to_the_one_in_its_stead(service: Service) -> None:
    pid = start(service, "--workers=1", code=MOURNED)
    (killed,) = workers(pid)
    os.kill(killed, signal.SIGKILL)

    wait_noted(service, f"ended {killed}")
    assert notes(service, killed) == ["lifespan.startup.complete"]


def test_the_end_of_the_old_workers_is_told_after_a_reload_also_when_they_had_no_such_hook(
    service: Service,
) -> None:
    pid = service.start(*PATIENT, "--workers=2")
    old = workers(pid)
    break_app(service, MOURNED)
    assert reload(service)[0] == 0

    for worker in old:
        wait_noted(service, f"ended {worker}")
    assert len([text for text in notes(service) if text.startswith("ended")]) == 2


def test_the_end_of_a_worker_that_was_recycled_is_told(service: Service) -> None:
    pid = start(service, "--workers=1", "--max-requests=1", code=MOURNED)
    (old,) = workers(pid)
    service.client().get()
    service.client().get()

    wait_noted(service, f"ended {old}")


def test_the_end_of_a_worker_is_told_again_if_who_was_told_has_ended_before_it_was_done(
    service: Service,
) -> None:
    hangs = MOURNED.replace('note(f"ended {pid}")', 'note(f"told {pid}"); import time; time.sleep(3600)')
    pid = start(service, "--workers=2", code=hangs)
    killed = workers(pid)[0]
    os.kill(killed, signal.SIGKILL)
    wait_noted(service, f"told {killed}")
    told = next(each for each in workers(pid) if f"told {killed}" in notes(service, each))
    os.kill(told, signal.SIGKILL)

    wait_noted(service, f"told {killed}", 2)
    wait_noted(service, f"told {told}")


def test_code_that_was_tried_in_a_reload_in_place_has_its_end_told(service: Service) -> None:
    start(service, code=MOURNED)
    assert reload(service)[0] == 0

    (tried,) = re.findall(r"pid=(\d+) tries the new code", service.manager.stderr())
    wait_noted(service, f"ended {tried}")


def test_an_app_without_such_a_hook_is_told_nothing(service: Service) -> None:
    pid = start(service, "--workers=2", code="")
    os.kill(workers(pid)[0], signal.SIGKILL)
    wait_until(lambda: len(lines(service, " starts")) == 3)
    stop(service)

    assert "Traceback" not in service.manager.stderr()
