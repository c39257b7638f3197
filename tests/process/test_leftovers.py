"""What a worker leaves behind when it ends: processes of its group, shared memory, orphans."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gate import install
from tests.http_client import get
from tests.manager import wait_until
from tests.process.conftest import Service
from tests.process.test_reload import reload
from tests.process.test_supervisor import wait_gone, workers

QUICK = ("--workers=1", "--probation=0.1s", "--shutdown-timeout=1s", "--linger=0s")

SHARED = """
from multiprocessing.shared_memory import SharedMemory
segment = SharedMemory(create=True, size=65536)
with open("segment", "a") as file:
    file.write(f"{segment.name}\\n")
"""

HELPER = """
import subprocess
subprocess.Popen(["sh", "helper"])
while not os.path.exists("helper.pid"):
    import time; time.sleep(0.01)
"""

PROMPT = """trap 'sleep 0.5; echo done >helper.done; exit' TERM
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
    names = (service.directory / "segment").read_text().split()
    return [Path("/dev/shm") / name for name in names]


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
    (segment,) = segments(service)
    assert segment.exists()

    end(service, pid)

    wait_until(lambda: not segment.exists())


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


def test_a_supervisor_has_seen_to_what_its_workers_leave_before_it_ends(service: Service) -> None:
    _, child = helped(service, DEAF)

    end_by_stop(service, 0)

    assert state(child) in ("", "Z")


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

    assert state(child) in ("", "Z")


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

    tried = segments(service)[0]
    wait_until(lambda: not tried.exists())
    assert get(service.listener).status == 200


def test_nothing_of_the_code_that_was_tried_is_a_zombie_after_a_reload_in_place(service: Service) -> None:
    install(service.directory)
    pid = service.start("--shutdown-timeout=1s", "--linger=0s")
    (service.directory / "helper").write_text(PROMPT)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + HELPER)

    assert reload(service)[0] == 0

    assert [state(child) for child in workers(pid)].count("Z") == 0
