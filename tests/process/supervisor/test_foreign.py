"""The supervisor keeps programs of another make: it knows of them what systemd would."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.probe.background import BackgroundProbe
from sockact.sockets.fds import Listener
from tests.support.gate import install as install_gate_app
from tests.support.http_client import get
from tests.support.manager import CHECKOUT, Manager, wait_until
from tests.support.processes import wait_gone, workers

PROGRAMS = CHECKOUT / "tests" / "programs"
ROUNDS = 3


class Foreign:
    """Programs that a supervisor keeps, each from a directory of its own."""

    def __init__(self, manager: Manager, listener: Listener, directory: Path) -> None:
        self.manager = manager
        self.listener = listener
        self.directory = directory

    def start(self, *program: str | Path, options: tuple[str, ...] = ("--workers=2",)) -> int:
        """Start the supervisor, wait until it is ready, and return its PID."""
        pid = self.launch(*program, options=options)
        self.manager.wait_ready()
        return pid

    def launch(self, *program: str | Path, options: tuple[str, ...]) -> int:
        """Start the supervisor, and return its PID."""
        command = [sys.executable, "-m", "sockact", "run", "--probation=0.1s", "--control=none", *options]
        command += ["--", *map(str, program)]
        return self.manager.start(command, [self.listener], PYTHONPATH=str(CHECKOUT))

    def reload(self) -> str:
        """Ask for a reload, wait for its end, and return what the manager is told of it."""
        self.manager.signal(signal.SIGHUP)
        self.manager.wait_for("RELOADING", "1")
        return self.manager.wait_ready().assignments["STATUS"]

    def answer(self) -> Any:
        return json.loads(get(self.listener).body)

    def load(self) -> BackgroundProbe:
        """Run clients; a connection each, for not every server ends a persistent one as ours does."""
        return BackgroundProbe(f"http://{self.listener.address}", ["one-shot:2@50"])

    def stop(self) -> None:
        self.manager.signal(signal.SIGTERM)
        assert self.manager.wait_exit() == 0


@pytest.fixture
def foreign(manager: Manager, listener: Listener, tmp_path: Path) -> Foreign:
    return Foreign(manager, listener, tmp_path)


def assert_reloads_lose_nobody(foreign: Foreign, install: Callable[[int], None]) -> None:
    """Reload under load, to a version that `install` puts in place."""
    with foreign.load() as clients:
        for version in range(2, ROUNDS + 2):
            install(version)
            assert foreign.reload().startswith(f"gen {version}: 2 workers ready")
        report = clients.report()

    assert report["lost"] == 0, report["failures"]
    # Whether the clients have met the last version, too, is a matter of moments.
    versions = [str(number) for number in range(1, ROUNDS + 2)]
    assert {seen["version"] for seen in report["seen"]} in (set(versions), set(versions[:-1]))


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[int], Path]:
    """Give the function that puts a version of the server in C in place, and returns its path."""

    def install(version: int) -> Path:
        program = tmp_path / "server"
        new = program.with_suffix(".new")  # what runs cannot be written
        options = ["-Wall", "-Wextra", "-Werror", f'-DVERSION="{version}"']
        subprocess.run(["gcc", *options, "-o", new, PROGRAMS / "server.c"], check=True)
        return new.rename(program)

    return install


def test_a_program_in_c_is_reloaded_without_a_loss(
    foreign: Foreign, compiled: Callable[[int], Path]
) -> None:
    foreign.start(compiled(1))

    assert_reloads_lose_nobody(foreign, compiled)

    foreign.stop()


def test_a_program_ends_when_its_supervisor_is_killed(
    foreign: Foreign, compiled: Callable[[int], Path]
) -> None:
    before = workers(foreign.start(compiled(1)))

    foreign.manager.signal(signal.SIGKILL)

    foreign.manager.wait_exit()
    for worker in before:
        wait_gone(worker)


def test_a_shell_script_may_prepare_what_it_executes(
    foreign: Foreign, compiled: Callable[[int], Path]
) -> None:
    script = foreign.directory / "start"
    script.write_text('#!/bin/sh\numask 077\nexec "$@"\n')
    script.chmod(0o755)
    pid = foreign.start(script, compiled(1))

    assert foreign.answer()["pid"] in workers(pid)
    foreign.stop()


def test_a_program_that_fails_leaves_the_one_before_as_it_was(
    foreign: Foreign, compiled: Callable[[int], Path]
) -> None:
    program = compiled(1)
    pid = foreign.start(program)
    before = workers(pid)
    program.unlink()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)

    assert foreign.reload().startswith("reload failed: exited with status 3")

    wait_until(lambda: workers(pid) == before)
    assert foreign.answer()["version"] == "1"
    foreign.stop()


WSGI = """
import json, os
VERSION = "1"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"version": VERSION, "pid": os.getpid()}).encode()]
"""


CHILD = "import sockact; n = sockact.Notifier(); n.ready('from a child'); n.barrier(10)"


@pytest.mark.parametrize(("who", "ready"), [("main", False), ("all", True)])
def test_a_child_of_a_program_speaks_for_it_where_it_may(foreign: Foreign, who: str, ready: bool) -> None:
    script = '"$0" -c "$1"; exec sleep 3600'
    options = ("--workers=1", f"--notify-access={who}", "--start-timeout=5s")
    foreign.launch("/bin/sh", "-c", script, sys.executable, CHILD, options=options)

    if ready:
        foreign.manager.wait_ready()
        foreign.stop()
    else:
        assert foreign.manager.wait_exit() == 1
        assert foreign.manager.said("STATUS")[-1] == "not ready within 5 s"


def test_gunicorn_is_reloaded_without_a_loss(foreign: Foreign) -> None:
    def install(version: int) -> None:
        (foreign.directory / "app.py").write_text(WSGI.replace('VERSION = "1"', f'VERSION = "{version}"'))

    install(1)
    # Its control socket would be a file in the home directory.
    foreign.start(sys.executable, "-m", "gunicorn", "--no-control-socket", "--log-level=warning", "app:app")

    assert_reloads_lose_nobody(foreign, install)

    foreign.stop()


def test_uvicorn_which_does_not_notify_is_ready_when_it_has_lived_for_a_second(foreign: Foreign) -> None:
    install_gate_app(foreign.directory)
    uvicorn = [sys.executable, "-m", "uvicorn", "--fd=3", "--log-level=warning", "app:app"]

    foreign.start(*uvicorn, options=("--no-notify",))

    assert get(foreign.listener).status == 200


@pytest.fixture
def datagrams() -> Iterator[Listener]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    listener = Listener.of(sock, "log")
    yield listener
    listener.close()


def test_a_shell_script_takes_datagrams_and_its_successor_those_after_a_reload(
    manager: Manager, datagrams: Listener, tmp_path: Path
) -> None:
    assert datagrams.sock is not None
    address = datagrams.sock.getsockname()
    foreign = Foreign(manager, datagrams, tmp_path)
    pid = foreign.start("sh", PROGRAMS / "datagrams.sh", tmp_path / "log", options=("--no-notify",))
    (before,) = workers(pid)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"one\n", address)
        client.sendto(b"two\n", address)
        wait_until(lambda: written(tmp_path / "log") == ["one", "two"])

        assert foreign.reload().startswith("gen 2: 1 worker ready")
        wait_gone(before)

        client.sendto(b"three\n", address)
        wait_until(lambda: written(tmp_path / "log") == ["one", "two", "three"])
    foreign.stop()


def written(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


SLOW = """
import os, signal, time, sdnotify
open("begun", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
signal.signal(signal.SIGUSR1, lambda *_: None)
sdnotify.SystemdNotifier().notify("READY=1")
while True:
    signal.pause()
"""


def test_a_program_that_is_not_ready_gets_no_signal_that_would_end_it(foreign: Foreign) -> None:
    program = foreign.directory / "slow.py"
    program.write_text(SLOW)
    foreign.launch(sys.executable, program, options=("--workers=1",))
    wait_until((foreign.directory / "begun").exists)

    foreign.manager.signal(signal.SIGUSR1)
    foreign.manager.signal(signal.SIGTTIN)  # is handled after it, and leaves a trace
    wait_until(lambda: "worker=2" in foreign.manager.stderr())
    (foreign.directory / "go").touch()

    assert foreign.manager.wait_ready().assignments["STATUS"].startswith("gen 1: 2 workers ready")
    foreign.stop()
