"""`sockact.serve` in a program's own code, which becomes its own supervisor."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import CHECKOUT, Manager, wait_until
from tests.support.processes import workers

MAIN = (
    "import sys, sockact, app\nsockact.serve(app.app, control='none', probation=0.1{more})\nsys.exit(5)\n"
)
BY_DEFAULT = ("env", "-u", "SOCKACT_WORKERS")
PATH = {"PYTHONPATH": str(CHECKOUT)}


NO_SOCKET = """
import socket, sockact, app
closed = socket.socket()
closed.close()
first = socket.create_server(("127.0.0.1", 0))
def taken():
    return socket.create_server(first.getsockname())
sockact.serve(app.app, sock={sock})
"""


@pytest.fixture
def program(manager: Manager, tmp_path: Path) -> list[str]:
    """Give the command of a program that serves."""
    install(tmp_path)
    (tmp_path / "main.py").write_text(MAIN.format(more=""))
    return [*BY_DEFAULT, sys.executable, "main.py", "an argument"]


def command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_the_process_becomes_the_supervisor_of_the_program(
    manager: Manager, listener: Listener, program: list[str]
) -> None:
    pid = manager.start(program, [listener], **PATH)
    manager.wait_ready()

    sockact = [sys.executable, "-P", "-m", "sockact", "run", "--probation=0.100000", "--control=none"]
    assert command(pid) == [*sockact, "--", sys.executable, "main.py", "an argument"]
    (worker,) = workers(pid)
    assert command(worker) == [sys.executable, "main.py", "an argument"]
    assert json.loads(get(listener).text)["pid"] == worker
    assert "uvicorn" not in Path(f"/proc/{pid}/maps").read_text()
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0


def test_a_reload_runs_the_program_again_beside_the_old_one(
    manager: Manager, listener: Listener, program: list[str], tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(more=", workers=2"))
    pid = manager.start(program, [listener], **PATH)
    manager.wait_ready()
    before = workers(pid)
    install(tmp_path, "2")

    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()

    # The old workers were told to stop, and may accept for another moment.
    wait_until(lambda: json.loads(get(listener).text)["version"] == "2")
    wait_until(lambda: len(workers(pid)) == 2)
    assert not set(before) & set(workers(pid))


def test_a_program_without_a_command_serves_by_itself_and_says_so(
    manager: Manager, listener: Listener, program: list[str], tmp_path: Path
) -> None:
    shell = f"exec {sys.executable} - <{tmp_path / 'main.py'}"
    pid = manager.start(
        [*BY_DEFAULT, "/bin/sh", "-c", shell], [listener], PYTHONPATH=f"{CHECKOUT}:{tmp_path}"
    )
    manager.wait_ready()

    assert json.loads(get(listener).text)["pid"] == pid
    assert "no command that could be run again: one process serves" in manager.stderr()


def test_a_module_of_the_program_is_not_taken_for_one_that_the_supervisor_needs(
    manager: Manager, listener: Listener, program: list[str], tmp_path: Path
) -> None:
    """The workers leave that folder out, the supervisor has to do so by itself."""
    (tmp_path / "selectors.py").write_text("raise RuntimeError('not meant for you')")
    (tmp_path / "main.py").write_text("import sys\ndel sys.path[0]\n" + MAIN.format(more=""))
    library = tmp_path / "library"
    library.mkdir()
    install(library)
    manager.start(program, [listener], PYTHONPATH=f"{CHECKOUT}:{library}")

    manager.wait_ready()


def test_a_program_that_serves_does_not_supervise_under_a_supervisor(
    manager: Manager, listener: Listener, program: list[str]
) -> None:
    run = [*BY_DEFAULT, sys.executable, "-m", "sockact", "run", "--control=none", "--"]
    pid = manager.start([*run, *program[len(BY_DEFAULT) :]], [listener], **PATH)
    manager.wait_ready()

    (worker,) = workers(pid)
    assert json.loads(get(listener).text)["pid"] == worker


def test_what_was_passed_and_is_malformed_is_reported_before_the_process_changes(
    manager: Manager, program: list[str]
) -> None:
    lie = ["/bin/sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=many; exec "$@"', "sh"]
    manager.start([*lie, *program], **PATH)

    manager.wait_for("STATUS", "LISTEN_FDS='many': expected a decimal number")
    assert manager.wait_exit() == 78


OWN = """
import os, socket, sockact, app

def opened():
    open("opened", "a").write("x")
    return socket.create_server(("127.0.0.1", {port}))

sockact.serve(app.app, sock={sock}, control="none", probation=0.1)
"""


@pytest.fixture
def port() -> int:
    """Give a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def serve_own(manager: Manager, port: int, sock: str) -> int:
    """Start a program that opens its socket itself."""
    install(Path())
    Path("main.py").write_text(OWN.format(port=port, sock=sock))
    pid = manager.start([*BY_DEFAULT, sys.executable, "main.py"], **PATH)
    manager.wait_ready()
    return pid


def pid_at(port: int) -> int:
    """Return which process answers there."""
    return int(json.loads(get(("127.0.0.1", port)).text)["pid"])


def test_a_program_can_say_how_its_socket_is_opened(manager: Manager, port: int) -> None:
    pid = serve_own(manager, port, "opened")
    before = workers(pid)

    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()

    wait_until(lambda: pid_at(port) not in before)
    assert Path("opened").read_text() == "x"


@pytest.mark.parametrize("sock", ["opened()", "[opened()]"])
def test_a_program_that_has_opened_its_socket_serves_itself(manager: Manager, port: int, sock: str) -> None:
    pid = serve_own(manager, port, sock)
    assert pid_at(port) == pid

    manager.signal(signal.SIGHUP)

    manager.wait_for("RELOADING", "1")
    assert "the program has opened its socket itself" in manager.wait_ready().assignments["STATUS"]
    assert pid_at(port) == pid


def test_a_socket_that_was_passed_comes_first(manager: Manager, listener: Listener, port: int) -> None:
    install(Path())
    Path("main.py").write_text(OWN.format(port=port, sock="opened"))
    manager.start([*BY_DEFAULT, sys.executable, "main.py"], [listener], **PATH)
    manager.wait_ready()

    assert get(listener).status == 200
    assert not Path("opened").exists()


@pytest.mark.parametrize(
    ("sock", "status", "message"),
    [
        ("5", 64, "sock=5: expected an open socket"),
        ("'127.0.0.1:80'", 64, "sock='127.0.0.1:80': expected an open socket"),
        ("[]", 64, "sock=[]: expected an open socket"),
        ("lambda: None", 64, "sock=None: expected an open socket"),
        ("closed", 64, "expected an open socket"),
        ("taken", 69, "Address already in use"),
        ("lambda: {}['port']", 1, "failed: KeyError: 'port'"),
    ],
)
def test_what_is_no_socket_of_the_program_is_said(
    manager: Manager, sock: str, status: int, message: str
) -> None:
    install(Path())
    Path("main.py").write_text(NO_SOCKET.format(sock=sock))
    manager.start([*BY_DEFAULT, sys.executable, "main.py"], **PATH)

    assert manager.wait_exit() == status, manager.stderr()
    assert message in manager.stderr()
    assert message in manager.said("STATUS")[-1]
    assert ("Traceback" in manager.stderr()) == (status == 1)
