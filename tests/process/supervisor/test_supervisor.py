"""The supervisor: workers that are started as systemd would, a reload beside them, and their deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import ask_for_reload, reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import LIMIT, open_descriptors, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import HANG, QUICK, Service, break_app, stop, wait_answered_by


def test_the_main_process_serves_nothing_and_its_workers_run_its_command_alone(
    service: Service,
) -> None:
    pid = service.start(*QUICK)

    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    for worker in workers(pid):
        assert Path(f"/proc/{worker}/cmdline").read_text().split("\0")[:-1] == [*command, "--workers=0"]
    assert service.client().get().json["pid"] in workers(pid)
    assert len(workers(pid)) == 2


def test_the_supervisor_loads_neither_the_app_nor_an_http_engine(service: Service) -> None:
    pid = service.start(*QUICK)

    mapped = Path(f"/proc/{pid}/maps").read_text()

    assert "libsystemd" in mapped
    for heavy in ("uvloop", "httptools", "_ssl", "libcrypto", "libssl", "libbz2"):
        assert heavy not in mapped


def test_ready_is_said_once_when_all_workers_are(service: Service) -> None:
    install(service.directory)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path, "GATE_STARTUP": "1"}
    service.manager.sockact("app:app", *QUICK, listeners=[service.listener], **environ)
    first, second = service.gate.wait(), service.gate.wait()
    first.release()
    service.client().get()
    assert service.manager.said("READY") == []
    second.release()

    assert service.manager.wait_ready().assignments["STATUS"] == "gen 1: 2 workers ready, 0 in flight"
    stop(service)
    assert service.manager.said("READY") == ["1"]
    assert service.manager.said("STOPPING") == ["1"]


def test_a_reload_brings_new_workers_and_keeps_the_main_process(service: Service) -> None:
    pid = service.start(*QUICK)
    before = workers(pid)
    install(service.directory, "2")

    assert reload(service) == (0, "gen 2 is ready\n")

    assert service.manager.said("RELOADING") == ["1"]
    wait_answered_by(service, lambda text: '"version": "2"' in text)
    for worker in before:
        wait_gone(worker)
    wait_until(lambda: len(workers(pid)) == 2)


def test_the_old_workers_serve_until_the_new_ones_are_ready(service: Service) -> None:
    pid = service.start(*QUICK)
    old = workers(pid)
    code = (service.directory / "app.py").read_text().replace('VERSION = "1"', 'VERSION = "2"')
    slow = 'await receive()\n    if os.environ.get("GATE_STARTUP")'
    (service.directory / "app.py").write_text(code.replace(slow, "await receive()\n    if True"))
    with ask_for_reload(service) as caller:
        trials = [service.gate.wait(), service.gate.wait()]

        for _ in range(20):
            assert service.client().get().json["pid"] in old
        for trial in trials:
            trial.release()
        assert caller.wait(LIMIT) == 0
    wait_answered_by(service, lambda text: '"version": "2"' in text)


def test_a_reload_for_those_short_of_memory_has_few_workers_too_many_at_any_time(
    service: Service,
) -> None:
    pid = service.start("--workers=3", "--surge=1", "--probation=0.1s")
    install(service.directory, "2")
    break_app(service, "os.environ['GATE_STARTUP'] = '1'")
    with ask_for_reload(service) as caller:
        for _ in range(3):
            trial = service.gate.wait()
            wait_until(lambda: len(workers(pid)) == 4)
            trial.release()

        assert caller.wait(LIMIT) == 0
    wait_until(lambda: len(workers(pid)) == 3)
    assert '"version": "2"' in get(service.listener).text


def test_a_reload_does_not_wait_for_a_long_request_on_an_old_worker(service: Service) -> None:
    service.start(*QUICK, "--linger=60s", "--drain-timeout=60s")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    assert reload(service)[0] == 0
    assert reload(service)[0] == 0
    held.release()

    assert client.read().status == 200


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x = (", "SyntaxError: '(' was never closed"),
        ("async def app(s, r, t):\n await r(); 1/0", "division by zero"),
        ("import os; os._exit(3)", "exited with status 3"),
        ("async def lifespan(*_): await asyncio.Event().wait()", "did not finish within 4 s"),
        ("import time; time.sleep(3600)", "not ready within 4 s"),
        (
            "import threading\nthreading.Timer(0.1, os._exit, [7]).start()",
            "exited with status 7",
        ),
    ],
    ids=["syntax", "startup", "exit", "hangs in startup", "hangs at import", "dies in the probation"],
)
def test_a_generation_that_fails_leaves_the_old_one_as_it_was(
    service: Service, line: str, reason: str
) -> None:
    limit = ["--start-timeout=4s"] if "within 4 s" in reason else []
    pid = service.start("--workers=2", "--probation=5s", *limit)
    before = workers(pid)
    break_app(service, line)

    status, text = reload(service)

    assert status == 1
    assert reason in text
    assert service.manager.said("STATUS")[-1].startswith("reload failed: ")
    assert set(before) <= set(workers(pid))
    wait_answered_by(service, lambda text: any(f'"pid": {worker},' in text for worker in before))


def test_a_worker_that_dies_is_replaced_at_once(service: Service) -> None:
    pid = service.start(*QUICK)
    before = workers(pid)

    os.kill(before[0], signal.SIGKILL)

    wait_answered_by(service, lambda text: not any(f'"pid": {worker},' in text for worker in before))
    assert "was killed by SIGKILL" in service.manager.stderr()
    assert service.manager.said("READY") == ["1"]


def test_a_first_generation_that_fails_ends_the_supervisor_with_its_reason(service: Service) -> None:
    install(service.directory)
    break_app(service, "x = (")
    service.manager.sockact("app:app", *QUICK, "--control=none", listeners=[service.listener])

    assert service.manager.wait_exit() == 1
    assert service.manager.said("READY") == []
    assert "SyntaxError: '(' was never closed" in service.manager.said("STATUS")[-1]


def test_a_stop_waits_for_the_workers_and_leaves_none(service: Service) -> None:
    pid = service.start(*QUICK, "--linger=60s", "--drain-timeout=60s")
    before = workers(pid)

    service.drain_and_end()

    assert not any(Path(f"/proc/{worker}").exists() for worker in before)


def test_a_stop_ends_at_the_workers_drain_timeout(service: Service) -> None:
    service.start(*QUICK, "--linger=0.1s", "--drain-timeout=0.3s")
    service.client().ask("/hold")
    service.gate.wait()

    stop(service)

    assert "aborted: " in service.manager.stderr()


def test_a_stop_overtakes_a_reload(service: Service) -> None:
    service.start(*QUICK)
    break_app(service, "async def lifespan(*_): await asyncio.Event().wait()")
    with ask_for_reload(service) as caller:
        service.manager.wait_for("RELOADING", "1")
        stop(service)

        assert caller.wait(LIMIT) == 1
    assert service.manager.said("READY") == ["1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_twice_ends_all_at_once(service: Service, number: signal.Signals) -> None:
    pid = service.start(*QUICK, "--linger=60s", "--drain-timeout=60s")
    before = workers(pid)
    service.client().ask("/hold")
    service.gate.wait()

    service.manager.signal(number)
    service.manager.wait_for("STOPPING", "1")
    for _ in range(2):
        service.manager.wait_for("EXTEND_TIMEOUT_USEC")  # comes once a second
    service.manager.signal(number)

    assert service.manager.wait_exit() == 128 + number
    for worker in before:
        wait_gone(worker)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTSTP])
def test_signals_that_are_for_the_app_reach_each_worker(service: Service, number: signal.Signals) -> None:
    service.start(*QUICK)

    service.manager.signal(number)

    wait_until(lambda: service.manager.stderr().count(f"{number.name} has no meaning here") == 2)


def test_workers_drain_when_the_supervisor_is_killed(service: Service) -> None:
    pid = service.start(*QUICK, "--linger=60s", "--drain-timeout=60s")
    before = workers(pid)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    service.manager.signal(signal.SIGKILL)
    service.manager.wait_exit()
    held.release()

    assert client.read().status == 200
    client.close()
    for worker in before:
        wait_gone(worker)


def test_a_worker_that_hangs_is_aborted_and_replaced(service: Service) -> None:
    install(service.directory)
    break_app(service, HANG)
    pid = service.start("--workers=1", "--worker-watchdog=0.5s")
    before = workers(pid)
    service.client().ask("/hang")
    wait_until(lambda: "nanosleep" in Path(f"/proc/{before[0]}/wchan").read_text())

    wait_answered_by(service, lambda text: f'"pid": {before[0]},' not in text)

    log = service.manager.stderr()
    assert "missed its watchdog ping" in log
    assert "Fatal Python error: Aborted" in log
    assert "was killed by SIGABRT" in log


def test_a_service_that_was_frozen_for_longer_than_the_watchdog_allows_keeps_its_workers(
    service: Service,
) -> None:
    pid = service.start("--workers=2", "--worker-watchdog=1s")
    before = workers(pid)
    client = service.client()
    client.get()
    since = time.monotonic()
    for process in (pid, *before):
        os.kill(process, signal.SIGSTOP)
    wait_until(lambda: time.monotonic() > since + 3)

    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "this process did not run" in service.manager.stderr())
    for process in before:
        os.kill(process, signal.SIGCONT)

    assert not client.get().closes
    assert workers(pid) == before


def test_descriptors_do_not_pile_up_over_reloads(service: Service) -> None:
    pid = service.start(*QUICK)
    at_first = open_descriptors(pid)
    for _ in range(4):
        old = workers(pid)
        assert reload(service)[0] == 0
        for worker in old:
            wait_gone(worker)

    # What belongs to a worker is closed a moment after its PID is gone.
    wait_until(lambda: open_descriptors(pid) == at_first)


HELPER = """
import subprocess
open(f"helper.{subprocess.Popen(['sleep', '3600']).pid}", "w").close()
"""


@pytest.fixture
def helpers(service: Service) -> Iterator[Callable[[], set[int]]]:
    """Make the app start a process which it never ends; give what returns those that run."""
    install(service.directory)
    break_app(service, HELPER)

    def running() -> set[int]:
        started = {int(path.suffix[1:]) for path in service.directory.glob("helper.*")}
        return {pid for pid in started if Path(f"/proc/{pid}").exists()}

    yield running
    for pid in running():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "left"),
    # Alone, the old code's helper is one of the process that goes on.
    [(("--workers=1", "--probation=0.1s"), 1), (("--workers=0",), 2)],
    ids=["of an old worker", "of a canary"],
)
def test_processes_that_an_app_forgot_do_not_outlive_their_parent(
    service: Service, helpers: Callable[[], set[int]], options: tuple[str, ...], left: int
) -> None:
    service.start(*options)
    first = helpers()
    assert len(first) == 1

    assert reload(service)[0] == 0

    wait_until(lambda: len(helpers()) == left)
    assert helpers() != first


LIE = """
import os, pathlib, socket
variables = pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\\0")
address = next(text for text in variables if text.startswith(b"NOTIFY_SOCKET=")).split(b"=")[1]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.sendto(b"STATUS=a lie\\nERRNO=5", address.replace(b"@", b"\\0"))
"""


def test_nobody_but_the_worker_is_believed(service: Service) -> None:
    install(service.directory)
    (service.directory / "lie.py").write_text(LIE)
    break_app(service, "import subprocess, sys\nsubprocess.run([sys.executable, 'lie.py'], check=True)")

    service.start("--workers=1")

    assert "a lie" not in service.manager.stderr()
    assert service.client().get().status == 200


def test_a_worker_that_a_signal_without_a_name_has_killed_is_replaced(service: Service) -> None:
    pid = service.start(*QUICK)
    killed, other = workers(pid)

    os.kill(killed, signal.SIGRTMIN + 1)

    wait_until(lambda: killed not in workers(pid) and len(workers(pid)) == 2)
    assert f"was killed by signal {signal.SIGRTMIN + 1}" in service.manager.stderr()
    assert other in workers(pid)
    stop(service)
