"""The start of a new process: what it is given, what it keeps, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from sockact.process import child_handle
from sockact.process.child import Child
from sockact.process.command import Program
from tests.support.commands import reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import open_descriptors, wait_until
from tests.support.processes import allow, wait_gone, workers
from tests.support.service import QUICK, Service, break_app, stop

TELL = """
import json
seen = {"environ": dict(os.environ), "argv": sys.argv, "stdin": os.readlink("/proc/self/fd/0")}
print("said on stdout by", VERSION, flush=True)
print("said on stderr by", VERSION, file=sys.stderr, flush=True)
served = app
async def app(scope, receive, send):
    if scope.get("path") != "/tell":
        return await served(scope, receive, send)
    body = json.dumps(seen).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


def test_what_marks_a_worker_is_gone_before_the_app_runs(service: Service) -> None:
    install(service.directory)
    break_app(service, "import sys\n" + TELL)
    service.start(*QUICK)
    reload(service)

    environ = json.loads(get(service.listener, "/tell").text)["environ"]

    ours = [name for name in environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "SOCKACT_"))]
    assert ours == ["SOCKACT_WORKERS"]  # a setting of the test's


def test_a_worker_writes_where_its_supervisor_writes(service: Service) -> None:
    install(service.directory)
    break_app(service, "import sys\n" + TELL)
    service.start("--workers=1", "--probation=0.1s")
    ours = os.readlink(f"/proc/{service.manager.pid}/fd/1")

    assert os.readlink(f"/proc/{workers(service.manager.pid)[0]}/fd/1") == ours
    assert "said on stderr by 1" in service.manager.stderr()
    stdin = os.readlink(f"/proc/{service.manager.pid}/fd/0")
    assert json.loads(get(service.listener, "/tell").text)["stdin"] == stdin


def test_the_app_is_imported_by_each_worker_and_never_by_the_supervisor(service: Service) -> None:
    install(service.directory)
    break_app(service, 'open(f"imported.{os.getpid()}", "w").close()')
    pid = service.start(*QUICK)
    first = workers(pid)
    reload(service)
    second = set(workers(pid)) - set(first)

    imported = {int(path.suffix[1:]) for path in service.directory.glob("imported.*")}

    assert imported == {*first, *second}
    assert pid not in imported


def test_a_process_that_cannot_be_started_fails_the_reload_and_nothing_else(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    (old,) = workers(pid)
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = open_descriptors(pid)
    for free in range(5):
        allow(pid, before + free)
        service.manager.signal(signal.SIGHUP)
        service.manager.wait_for("RELOADING", "1")
        service.manager.wait_for("STATUS", "reload failed: no process can be started: Too many open files")
        assert service.client().get().json["pid"] == old
        assert open_descriptors(pid) == before

    allow(pid, most)
    assert reload(service) == (0, "gen 7 is ready\n")


def test_a_failed_reload_does_not_prevent_the_next(service: Service) -> None:
    service.start(*QUICK)
    break_app(service, "x = (")
    assert reload(service)[0] == 1
    assert reload(service)[0] == 1
    install(service.directory, "2")

    assert reload(service)[0] == 0

    wait_until(lambda: '"version": "2"' in get(service.listener).text)


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def test_a_pid_that_belongs_to_another_process_by_now_is_not_signalled(
    tmp_path: Path, lacking: Callable[[str], NoReturn]
) -> None:
    if not os.access(LAST_PID, os.W_OK):
        lacking("no PID can be chosen here")
    with asyncio.Runner() as runner:
        child = runner.run(started(tmp_path))
        child.send(signal.SIGKILL)
        os.waitpid(child.pid, 0)
        stranger = born_as(child.pid)
        try:
            with pytest.raises(ProcessLookupError):
                child.send(signal.SIGTERM)

            assert os.waitpid(stranger, os.WNOHANG) == (0, 0)
        finally:
            os.kill(stranger, signal.SIGKILL)
            os.waitpid(stranger, 0)
            child._close()


async def started(directory: Path) -> Child:
    program = Program(("sleep", "3600"), str(directory), os.environ)
    return Child(child_handle.spawn(program, [], {}), heard=lambda _: None, ended=lambda _: None)


def born_as(pid: int) -> int:
    """Start a process that has this PID; the kernel gives the next one that is free."""
    while True:
        LAST_PID.write_text(str(pid - 1))
        born = os.posix_spawn("/bin/sleep", ["sleep", "3600"], {})
        if born == pid:
            return born
        os.kill(born, signal.SIGKILL)
        os.waitpid(born, 0)


def test_a_signal_that_is_passed_on_does_not_kill_a_worker_that_still_imports(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    (old,) = workers(pid)
    service.manager.signal(signal.SIGHUP)
    wait_until(lambda: len(workers(pid)) > 1)

    def generation_2_is_ready() -> bool:
        service.manager.signal(signal.SIGUSR1)
        return any("gen 2" in text for text in service.manager.said("STATUS"))

    wait_until(generation_2_is_ready)

    wait_gone(old)
    assert "was killed by" not in service.manager.stderr()
    stop(service)


@pytest.mark.parametrize("options", [("--workers=0",), ("--workers=1", "--probation=0.1s")])
def test_a_listener_stays_non_blocking_whatever_the_app_does_to_it(
    service: Service, options: tuple[str, ...]
) -> None:
    install(service.directory)
    flip = "import socket, stat\nfor fd in map(int, os.listdir('/proc/self/fd')):\n"
    flip += (
        "    if fd > 2 and os.path.exists(f'/proc/self/fd/{fd}') and stat.S_ISSOCK(os.fstat(fd).st_mode):\n"
    )
    flip += "        os.set_blocking(fd, True)\n"
    break_app(service, flip)
    service.start(*options)
    assert service.listener.sock is not None

    assert not os.get_blocking(service.listener.sock.fileno())

    reload(service)
    assert not os.get_blocking(service.listener.sock.fileno())
    assert service.client().get().status == 200


LAZY = """
served = app
async def app(scope, receive, send):
    if scope.get("path") != "/lazy":
        return await served(scope, receive, send)
    import lazy
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": lazy.VERSION.encode()})
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_module_that_is_imported_late_is_that_of_the_release_the_process_began_with(
    service: Service, tmp_path: Path, workers: str
) -> None:
    for version in ("1", "2"):
        release = tmp_path / f"release{version}"
        release.mkdir()
        install(release, version)
        with (release / "app.py").open("a") as app:
            app.write(LAZY)
        (release / "lazy.py").write_text(f'VERSION = "{version}"\n')
    current = tmp_path / "current"
    current.symlink_to("release1")
    install(tmp_path)  # what must not be found
    service.start(f"--chdir={current}", f"--workers={workers}", "--probation=0.1s")
    (tmp_path / "new").symlink_to("release2")
    (tmp_path / "new").rename(current)

    assert get(service.listener, "/lazy").text == "1"
    assert reload(service)[0] == 0
    wait_until(lambda: get(service.listener, "/lazy").text == "2")
