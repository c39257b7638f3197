"""Leftovers of a worker that has ended: processes of its group, shared memory, orphans."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.commands import reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import Service

QUICK = ("--workers=1", "--probation=0.1s", "--shutdown-timeout=1s", "--linger=0s")

SEGMENTS = 300
"""So many that it takes a while to remove them."""

SHARED = f"""
from multiprocessing.shared_memory import SharedMemory
segments = [SharedMemory(create=True, size=4096) for _ in range({SEGMENTS})]
with open("segments", "a") as file:
    file.write("".join(f"{{segment.name}}\\n" for segment in segments))
"""

HELPER = """
import subprocess
subprocess.Popen(["sh", "helper"])
while not os.path.exists("helper.pid"):
    import time; time.sleep(0.01)
"""

PROMPT = """trap 'sleep 0.1; echo done >helper.done; exit' TERM
echo $$ >helper.pid
while :; do sleep 0.05; done
"""
DEAF = """trap '' TERM
echo $$ >helper.pid
while :; do sleep 0.05; done
"""


def start(service: Service, code: str, *options: str) -> int:
    install(service.directory)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + code)
    return service.start(*QUICK, *options)


def helped(service: Service, helper: str) -> tuple[int, int]:
    """Start a service whose worker has a helper; return the PIDs of both."""
    (service.directory / "helper").write_text(helper)
    pid = start(service, HELPER)
    return pid, int((service.directory / "helper.pid").read_text())


def state(pid: int) -> str:
    """Return the state of a process: R, S, Z, ...; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def segments(service: Service) -> list[Path]:
    """Return what there is of all shared memory that was ever made."""
    names = (service.directory / "segments").read_text().split()
    return [path for path in (Path("/dev/shm") / name for name in names) if path.exists()]


def end_by_reload(service: Service, _pid: int) -> None:
    install(service.directory, "2")
    assert reload(service)[0] == 0


def end_by_stop(service: Service, _pid: int) -> None:
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0


def end_by_crash(_service: Service, pid: int) -> None:
    os.kill(workers(pid)[0], signal.SIGKILL)


End = Callable[[Service, int], None]
ENDS = pytest.mark.parametrize("end", [end_by_reload, end_by_stop, end_by_crash])


@ENDS
def test_shared_memory_of_a_worker_is_gone_when_it_has_ended(service: Service, end: End) -> None:
    pid = start(service, SHARED)
    before = set(segments(service))
    assert len(before) == SEGMENTS

    end(service, pid)

    wait_until(lambda: not before & set(segments(service)))


@ENDS
def test_a_child_of_a_worker_that_has_ended_is_terminated_and_has_time_for_it(
    service: Service, end: End
) -> None:
    pid, _ = helped(service, PROMPT)

    end(service, pid)

    wait_until((service.directory / "helper.done").exists)


@ENDS
def test_a_child_of_a_worker_that_does_not_end_in_time_is_killed(service: Service, end: End) -> None:
    pid, child = helped(service, DEAF)

    end(service, pid)

    wait_until(lambda: state(child) in ("", "Z"))


def is_killed(pid: int) -> bool:
    """Tell whether SIGKILL waits for a process, which on a busy machine has had no time to end yet."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s+(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (signal.SIGKILL - 1) & 1 for mask in pending)


def test_a_supervisor_has_seen_to_what_its_workers_leave_before_it_ends(service: Service) -> None:
    _, child = helped(service, DEAF)

    end_by_stop(service, 0)

    assert is_killed(child) or state(child) in ("", "Z")


def test_a_worker_that_dies_is_replaced_before_its_children_have_ended(service: Service) -> None:
    pid, child = helped(service, DEAF)
    (worker,) = workers(pid)
    (service.directory / "app.py").write_text(
        (service.directory / "app.py").read_text().replace(HELPER, "")
    )

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: set(workers(pid)) - {worker})

    assert state(child) not in ("", "Z")
    assert get(service.listener).status == 200
    wait_until(lambda: state(child) in ("", "Z"))
    wait_gone(worker)


def test_a_group_keeps_its_number_until_it_is_empty(service: Service) -> None:
    pid, child = helped(service, DEAF)
    (worker,) = workers(pid)

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: state(worker) == "Z")
    wait_until(lambda: state(worker) == "")

    assert is_killed(child) or state(child) in ("", "Z")


def test_a_second_sigterm_does_not_wait_for_what_a_worker_has_left(service: Service) -> None:
    pid, child = helped(service, DEAF)
    (worker,) = workers(pid)
    service.manager.signal(signal.SIGINT)
    wait_until(lambda: state(worker) in ("", "Z"))

    service.manager.signal(signal.SIGINT)

    assert service.manager.wait_exit() == 128 + signal.SIGINT
    wait_until(lambda: state(child) in ("", "Z"))


@pytest.mark.parametrize("broken", ["", "\nraise RuntimeError('broken')\n"], ids=["accepted", "refused"])
def test_shared_memory_of_code_that_was_tried_is_gone(service: Service, broken: str) -> None:
    install(service.directory)
    service.start("--shutdown-timeout=1s", "--linger=0s")
    app = service.directory / "app.py"
    app.write_text(app.read_text() + SHARED + broken)

    assert reload(service)[0] == bool(broken)

    wait_until(lambda: len(segments(service)) == (0 if broken else SEGMENTS))  # of the code that serves
    assert get(service.listener).status == 200


def test_nothing_of_the_code_that_was_tried_is_a_zombie_after_a_reload_in_place(service: Service) -> None:
    install(service.directory)
    pid = service.start("--shutdown-timeout=1s", "--linger=0s")
    (service.directory / "helper").write_text(PROMPT)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + HELPER)

    assert reload(service)[0] == 0

    assert [state(child) for child in workers(pid)].count("Z") == 0


ORPHANS = """
import subprocess
inner = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        subprocess.run(["sh", "-c", "sleep 0.1 & echo $! >>orphans"])
    await inner(scope, receive, send)
"""

AS_INIT = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"),
)
"""Makes a program PID 1 of a PID namespace of its own, with what was passed."""


class Init:
    """A service whose main process is PID 1."""

    def __init__(self, service: Service, code: str) -> None:
        self.service = service
        install(service.directory)
        app = service.directory / "app.py"
        app.write_text(app.read_text() + code)

    def start(self, *command: str) -> None:
        environ = {"RUNTIME_DIRECTORY": str(self.service.directory), "GATE": self.service.gate.path}
        argv = [*AS_INIT, sys.executable, *command]
        outside = self.service.manager.start(argv, [self.service.listener], **environ)
        self.service.manager.wait_ready()
        (self.pid,) = workers(outside)

    def zombies(self) -> list[int]:
        return [pid for pid in descendants(self.pid) if state(pid) == "Z"]

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        assert self.service.manager.wait_exit() == 0


def descendants(pid: int) -> list[int]:
    try:
        children = workers(pid)
    except FileNotFoundError:  # it has ended meanwhile
        return []
    return [each for child in children for each in (child, *descendants(child))]


@pytest.fixture
def unshared(lacking: Callable[[str], NoReturn]) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:
        lacking("no PID namespace can be made here")


@pytest.mark.usefixtures("unshared")
def test_orphans_are_reaped_where_the_supervisor_is_pid_1(service: Service) -> None:
    init = Init(service, ORPHANS)
    init.start("-m", "sockact", "run", *QUICK, "app:app")
    for _ in range(3):
        assert get(service.listener).status == 200
    wait_until(lambda: len((service.directory / "orphans").read_text().split()) == 3)

    wait_until(lambda: len(descendants(init.pid)) == 1)  # the worker

    init.stop()


@pytest.mark.usefixtures("unshared")
def test_workers_end_as_elsewhere_where_the_supervisor_is_pid_1(service: Service) -> None:
    init = Init(service, "")
    init.start("-m", "sockact", "run", *QUICK, "app:app")
    (worker,) = workers(init.pid)

    os.kill(worker, signal.SIGKILL)

    wait_until(lambda: set(workers(init.pid)) - {worker})
    assert "was killed by SIGKILL" in service.manager.stderr()
    assert get(service.listener).status == 200
    init.stop()


CHILDREN = """
import subprocess
inner = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        done = subprocess.run(["sh", "-c", "sleep 0.1 & echo $! >>orphans; exit 7"])
        late = subprocess.Popen(["sh", "-c", "exit 8"])
        subprocess.run(["sleep", "0.3"])
        assert (done.returncode, late.wait()) == (7, 8)
    await inner(scope, receive, send)
"""

PROGRAM = "import sockact\nfrom app import app\nsockact.serve(app, workers=0, linger=0)\n"

ALONE = pytest.mark.parametrize(
    "command",
    [
        ("-m", "sockact", "run", "--workers=0", "--linger=0s", "app:app"),
        ("program.py",),
    ],
    ids=["command", "program"],
)


def start_alone(service: Service, code: str, command: tuple[str, ...]) -> Init:
    (service.directory / "program.py").write_text(PROGRAM)
    init = Init(service, code)
    init.start(*command)
    return init


@ALONE
@pytest.mark.usefixtures("unshared")
def test_orphans_are_reaped_and_the_apps_own_children_are_not_where_one_process_is_pid_1(
    service: Service, command: tuple[str, ...]
) -> None:
    init = start_alone(service, CHILDREN, command)
    for _ in range(2):
        assert get(service.listener).status == 200

    wait_until(lambda: len(descendants(init.pid)) == 1)  # the one that serves

    init.stop()


@ALONE
@pytest.mark.usefixtures("unshared")
def test_a_reload_in_place_goes_on_where_one_process_is_pid_1(
    service: Service, command: tuple[str, ...]
) -> None:
    init = start_alone(service, "", command)
    (serves,) = workers(init.pid)
    client = service.client()
    client.get()
    install(service.directory, "2")

    assert reload(service) == (0, "gen 2 is ready\n")

    assert client.get().json["version"] == "2"
    assert workers(init.pid) == [serves]
    init.stop()


@ALONE
@pytest.mark.usefixtures("unshared")
def test_the_manager_hears_a_service_that_is_pid_1_from_its_main_process(
    service: Service, command: tuple[str, ...]
) -> None:
    init = start_alone(service, "", command)

    heard = next(each for each in service.manager.heard if "READY" in each.assignments)
    assert heard.pid == init.pid
    init.stop()
    assert service.manager.said("STOPPING") == ["1"]


@pytest.mark.usefixtures("unshared")
def test_the_exit_status_is_that_of_the_service_where_it_is_pid_1(service: Service) -> None:
    install(service.directory)
    (service.directory / "app.py").write_text("raise RuntimeError('broken')")
    argv = [*AS_INIT, sys.executable, "-m", "sockact", "run", "--workers=0", "app:app"]

    service.manager.start(argv, [service.listener])

    assert service.manager.wait_exit() == 1
    assert "broken" in service.manager.said("STATUS")[-1]


@pytest.mark.usefixtures("unshared")
def test_all_signals_reach_a_service_that_is_pid_1(service: Service) -> None:
    code = "import sockact, signal\n" + "".join(
        f"@sockact.hooks.after_signal(signal.{name})\ndef _(): open('{name}', 'w').close()\n"
        for name in ("SIGUSR1", "SIGTSTP", "SIGHUP")
    )
    init = start_alone(service, code, ("-m", "sockact", "run", "--workers=0", "app:app"))

    for name in ("SIGUSR1", "SIGTSTP", "SIGHUP"):
        os.kill(init.pid, signal.Signals[name])
        wait_until((service.directory / name).exists)

    wait_until(lambda: "gen 2 is ready" in service.manager.stderr())
    os.kill(init.pid, signal.SIGQUIT)
    assert service.manager.wait_exit() == 0


WAIT = "for _ in $(seq 300); do test -e go && exit; sleep 0.1; done"
WAITING_HELPER = """
import subprocess
with open("helpers", "a") as file:
    file.write(f"{subprocess.Popen(['sh', 'helper']).pid}\\n")
"""


@pytest.mark.parametrize("code", [WAITING_HELPER, SHARED], ids=["helper", "shared memory"])
def test_children_of_the_code_before_are_reaped_after_a_reload_in_place(
    service: Service, code: str
) -> None:
    (service.directory / "helper").write_text(WAIT)
    pid = start(service, code, "--workers=0")
    before = workers(pid)
    assert before
    install(service.directory, "2")

    assert reload(service)[0] == 0
    (service.directory / "go").touch()

    wait_until(lambda: not set(before) & set(workers(pid)))


def test_children_that_a_program_has_started_before_it_serves_are_reaped_by_its_supervisor(
    service: Service,
) -> None:
    install(service.directory)
    (service.directory / "helper").write_text(WAIT)
    program = WAITING_HELPER + PROGRAM.replace("workers=0", "workers=1")
    (service.directory / "program.py").write_text(program)
    environ = {"GATE": service.gate.path, "SOCKACT_WORKERS": "1"}
    pid = service.manager.start([sys.executable, "program.py"], [service.listener], **environ)
    service.manager.wait_ready()
    first = int((service.directory / "helpers").read_text().split()[0])
    assert first in workers(pid)

    (service.directory / "go").touch()

    wait_until(lambda: first not in workers(pid))

    end_by_stop(service, pid)


def test_shared_memory_is_gone_before_a_process_that_serves_alone(service: Service) -> None:
    pid = start(service, SHARED, "--workers=0", "--shutdown-timeout=5s")
    assert segments(service)
    (tracker,) = workers(pid)
    os.kill(tracker, signal.SIGSTOP)  # as if it had no CPU
    service.manager.signal(signal.SIGTERM)
    wait_until(lambda: "the stop is done" in service.manager.stderr())
    time.sleep(1)  # far beyond what the end takes that does not wait for it

    assert service.manager.running
    os.kill(tracker, signal.SIGCONT)

    assert service.manager.wait_exit() == 0
    assert not segments(service)


def test_a_tracker_of_shared_memory_that_does_not_end_holds_no_process(service: Service) -> None:
    pid = start(service, SHARED, "--workers=0", "--shutdown-timeout=5s")
    (tracker,) = workers(pid)
    os.kill(tracker, signal.SIGSTOP)

    end_by_stop(service, pid)

    assert "exits" not in service.manager.stderr()
    os.kill(tracker, signal.SIGCONT)


@pytest.mark.usefixtures("unshared")
def test_a_service_that_is_pid_1_has_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("open('typed', 'w').write(input()); app = None")
    ours, terminal = pty.openpty()
    serve = [sys.executable, "-m", "sockact", "run", "--workers=0", "--listen=unix:socket", "app:app"]
    with subprocess.Popen(["setsid", "--ctty", *AS_INIT, *serve], stdin=terminal, cwd=tmp_path) as process:
        os.write(ours, b"hello\n")
        try:
            wait_until(
                lambda: (tmp_path / "typed").exists() and (tmp_path / "typed").read_text() == "hello"
            )
        finally:
            process.kill()
            os.close(ours)
            os.close(terminal)


@pytest.mark.usefixtures("unshared")
def test_a_watchdog_sees_the_stacks_of_a_service_that_is_pid_1(service: Service) -> None:
    init = start_alone(service, "", ("-m", "sockact", "run", "--workers=0", "app:app"))

    os.kill(init.pid, signal.SIGABRT)

    assert service.manager.wait_exit() == 128 + signal.SIGABRT
    assert "most recent call first" in service.manager.stderr()


def test_a_child_of_code_that_was_tried_is_terminated_and_has_time_for_it(service: Service) -> None:
    install(service.directory)
    service.start("--shutdown-timeout=1s", "--linger=0s")
    (service.directory / "helper").write_text(PROMPT)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + HELPER)

    assert reload(service)[0] == 0

    wait_until((service.directory / "helper.done").exists)
