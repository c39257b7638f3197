"""Sockets that sockact binds itself: where it may, where it must not, and how it gives them up."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sockact.protocols import control
from sockact.sockets.fds import Listener
from tests.support.gate import Gate, install
from tests.support.http_client import Client, get
from tests.support.manager import Manager, wait_until

LONG = ("--linger=60s", "--drain-timeout=60s", "--probation=0.1s")
ALL = pytest.mark.parametrize("workers", [0, 1, 2])


class Own:
    """The gate app on a socket of its own, and its clients."""

    def __init__(self, manager: Manager, gate: Gate, stack: contextlib.ExitStack) -> None:
        self.manager = manager
        self.gate = gate
        self._stack = stack
        self.address: str | tuple[str, int] = ""

    def start(self, workers: int, *options: str, listen: str = "127.0.0.1:0") -> None:
        if not Path("app.py").exists():
            install(Path())
        environ = {"SOCKACT_WORKERS": f"{workers}", "RUNTIME_DIRECTORY": str(Path().absolute())}
        self.manager.sockact(
            "app:app", f"--listen={listen}", *LONG, *options, GATE=self.gate.path, **environ
        )
        self.manager.wait_ready()
        found = re.search(r"serves listen=(\S+)", self.manager.stderr())
        assert found
        host, _, port = found[1].rpartition(":")
        self.address = (host, int(port)) if host else found[1]

    def client(self) -> Client:
        return self._stack.enter_context(Client(self.address))

    def refuses(self) -> bool:
        """Tell whether newcomers are refused; one that is not must not be left in a queue."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family) as newcomer:
            return newcomer.connect_ex(self.address) == errno.ECONNREFUSED

    def hold(self) -> Client:
        client = self.client()
        client.ask("/hold")
        self.held = self.gate.wait()
        return client

    def stop(self) -> None:
        self.manager.signal(signal.SIGTERM)
        self.manager.wait_for("STOPPING", "1")

    def assert_ends_well(self, held: Client) -> None:
        """Answer the request that is held, and end the service."""
        self.held.release()
        assert held.read().status == 200
        assert self.manager.wait_exit() == 0, self.manager.report()


@pytest.fixture
def own(manager: Manager, gate: Gate) -> Iterator[Own]:
    with contextlib.ExitStack() as stack:
        yield Own(manager, gate, stack)


@ALL
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:web.sock"])
def test_a_newcomer_is_refused_while_a_service_with_sockets_of_its_own_drains(
    own: Own, workers: int, listen: str
) -> None:
    own.start(workers, listen=listen)
    held = own.hold()

    own.stop()

    wait_until(own.refuses)
    own.assert_ends_well(held)


@ALL
def test_who_waits_in_the_queue_of_a_socket_of_its_own_is_served_before_a_stop_closes_it(
    own: Own, workers: int
) -> None:
    own.start(workers)
    held = own.hold()
    serving = accepting(own)
    for pid in serving:
        os.kill(pid, signal.SIGSTOP)
    waiting = [own.client() for _ in range(100)]  # more than are accepted at a time
    for client in waiting:
        client.ask_last()
    own.manager.signal(signal.SIGTERM)
    for pid in serving:
        os.kill(pid, signal.SIGCONT)

    assert {client.read().status for client in waiting} == {200}
    wait_until(own.refuses)
    own.assert_ends_well(held)


def accepting(own: Own) -> list[int]:
    """Return the processes that accept: the workers, or the one that serves alone."""
    children = Path(f"/proc/{own.manager.pid}/task/{own.manager.pid}/children").read_text().split()
    return [int(pid) for pid in children or [own.manager.pid]]


def test_who_waits_for_new_code_is_served_by_the_old_one_when_a_stop_overtakes_the_reload(own: Own) -> None:
    own.start(0)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    own.manager.wait_for("STATUS", "gen 1: reloading, draining")
    newcomer = own.client()
    newcomer.ask_last()

    own.stop()

    assert newcomer.read().status == 200
    wait_until(own.refuses)
    own.assert_ends_well(held)


@ALL
def test_nobody_is_refused_while_a_reload_drains(own: Own, workers: int) -> None:
    own.start(workers)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    if workers:
        own.manager.wait_ready()
    else:
        own.manager.wait_for("STATUS", "gen 1: reloading, draining")

    newcomer = own.client()
    newcomer.ask_last()
    own.held.release()

    assert newcomer.read().status == held.read().status == 200
    held.close()
    own.stop()
    assert own.manager.wait_exit() == 0


def test_a_generation_that_still_drains_holds_no_newcomer_when_the_service_stops(own: Own) -> None:
    own.start(1)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    own.manager.wait_ready()

    own.stop()

    wait_until(own.refuses)
    own.assert_ends_well(held)


def test_the_delay_of_a_drain_goes_on_accepting_on_a_socket_of_its_own(own: Own) -> None:
    own.start(1, "--drain-delay=60s", "--ready-path=/ready")
    own.stop()

    def drains() -> bool:
        with own.client() as client:
            return client.get("/ready").status == 503

    wait_until(drains)
    with own.client() as client:
        assert client.get().status == 200
    own.manager.signal(signal.SIGUSR2)
    wait_until(own.refuses)
    assert own.manager.wait_exit() == 0


def test_the_status_can_still_be_asked_while_a_socket_of_its_own_is_closed(own: Own) -> None:
    own.start(0)
    held = own.hold()
    own.stop()
    wait_until(own.refuses)

    service = control.request("status", str(Path("sockact.sock").absolute()))["service"]

    assert (service["phase"], service["sockets"]) == ("deactivating", [])
    own.assert_ends_well(held)


def test_newcomers_are_refused_when_the_supervisor_of_a_socket_of_its_own_was_killed(own: Own) -> None:
    own.start(1)
    held = own.hold()

    own.manager.signal(signal.SIGKILL)
    own.manager.wait_exit()

    wait_until(own.refuses)
    own.held.release()
    assert held.read().status == 200


def test_handlers_of_streams_refuse_newcomers_in_a_drain_too(manager: Manager) -> None:
    Path("app.py").write_text(
        "async def app(reader, writer):\n    writer.write(await reader.readline()); await reader.read()\n"
    )
    manager.sockact("app:app", "--listen=127.0.0.1:0", *LONG)
    manager.wait_ready()
    found = re.search(r"serves listen=127.0.0.1:(\d+)", manager.stderr())
    assert found
    where = ("127.0.0.1", int(found[1]))
    with socket.create_connection(where) as client:
        client.sendall(b"a\n")
        assert client.recv(2) == b"a\n"
        manager.signal(signal.SIGTERM)

        def refused() -> bool:
            with socket.socket() as newcomer:
                return newcomer.connect_ex(where) == errno.ECONNREFUSED

        wait_until(refused)
    assert manager.wait_exit() == 0


# A wrapper that keeps the sockets, or loses them.

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
PROGRAM = APP + "\nimport sockact\nif __name__ == '__main__':\n    sockact.serve(app, **{})\n"
SOCK = "{'sock': lambda: __import__('socket').create_server(('127.0.0.1', 0))}"
WITHOUT_EXEC = '"$@"; exit $?'


def run_wrapped(
    manager: Manager, shell: str, listeners: Sequence[Listener], *command: str, **environ: str
) -> None:
    """Start sockact under a shell, which does `shell` with the command in `$@`."""
    Path("app.py").write_text(APP)
    argv = command or ("-m", "sockact", "run", "app:app")
    manager.start(["/bin/sh", "-c", shell, "sh", sys.executable, *argv], listeners, **environ)


@pytest.fixture
def group(manager: Manager) -> Iterator[Manager]:
    """Give a manager whose program is ended with all of its process group."""
    yield manager
    with contextlib.suppress(ProcessLookupError):
        os.killpg(manager.pid, signal.SIGKILL)


def assert_refused(manager: Manager, *words: str) -> None:
    """Wait for the end with 78, and for an only line with these words; nothing was listened on."""
    assert manager.wait_exit() == 78, manager.report()
    assert manager.stderr().count("\n") == 1, manager.stderr()
    for word in words:
        assert word in manager.stderr()
    assert "listens on" not in manager.stderr()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("command", "program"),
    [
        (("-m", "sockact", "run", "app:app"), ""),
        (("-m", "sockact", "run", "--listen=127.0.0.1:0", "app:app"), ""),
        (("-m", "sockact", "run", "--", "sleep", "60"), ""),
        (("program.py",), PROGRAM),
        (("program.py",), PROGRAM.replace("{}", SOCK)),
    ],
    ids=["run", "listen", "a foreign program", "a program", "a program with a socket"],
)
def test_a_wrapper_that_does_not_exec_is_named_and_nothing_is_bound(
    group: Manager, listener: Listener, command: tuple[str, ...], program: str, workers: int
) -> None:
    Path("program.py").write_text(program)

    run_wrapped(group, WITHOUT_EXEC, [listener], *command, SOCKACT_WORKERS=f"{workers}")

    owner = f"LISTEN_PID={group.pid} is sh, which has started this process"
    assert_refused(group, owner, "Write `exec`")


def test_a_wrapper_of_a_wrapper_is_seen_too(group: Manager, listener: Listener) -> None:
    run_wrapped(group, 'sh -c \'"$@"; exit $?\' sh "$@"; exit $?', [listener])

    assert_refused(group, f"LISTEN_PID={group.pid} is sh")


def test_a_wrapper_that_drops_one_variable_is_told_so(group: Manager, listener: Listener) -> None:
    run_wrapped(group, 'unset LISTEN_PID; exec "$@"', [listener])

    assert_refused(group, "LISTEN_FDS=1 without LISTEN_PID")


@pytest.mark.parametrize(
    "shell",
    [
        'LISTEN_PID=$(sh -c "echo \\$\\$"); export LISTEN_PID; exec 3>&-; exec "$@"',
        'unset LISTEN_PID; exec 3>&-; exec "$@"',
        'unset LISTEN_PID LISTEN_FDS; exec "$@"',
        'export INVOCATION_ID=1 SYSTEMD_EXEC_PID=$PPID; unset LISTEN_PID LISTEN_FDS; exec 3>&-; "$@"; :',
    ],
    ids=["a PID of the past", "a count of the past", "a descriptor of somebody", "a shell of a service"],
)
def test_what_a_shell_has_left_of_another_service_is_no_reason_not_to_listen(
    group: Manager, listener: Listener, shell: str
) -> None:
    command = ("-m", "sockact", "run", "--listen=127.0.0.1:0", "app:app")
    run_wrapped(group, shell, [listener], *command, SOCKACT_WORKERS="1")

    wait_until(lambda: "gen 1 is ready" in group.stderr())
    found = re.search(r"serves listen=127.0.0.1:(\d+)", group.stderr())
    assert found
    assert get(("127.0.0.1", int(found[1]))).text == "hello"


# What a reload cannot take over.


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_setting_that_the_unit_has_changed_is_named_by_the_reload(
    manager: Manager, listener: Listener, workers: str
) -> None:
    Path("app.py").write_text(APP)
    control_path = str(Path("control.sock").absolute())
    manager.sockact(
        "app:app",
        "--probation=0.1s",
        f"--control={control_path}",
        listeners=[listener],
        SOCKACT_WORKERS=workers,
        SOCKACT_KEEP_ALIVE="5s",
    )
    manager.wait_ready()
    changed = {"SOCKACT_WORKERS": "4", "SOCKACT_KEEP_ALIVE": "5s", "SOCKACT_LINGER": "2s"}

    answer = control.request("reload", control_path, manager=True, environ=changed)

    remark = "SOCKACT_WORKERS=4, SOCKACT_LINGER=2s"
    assert answer == {"ok": True, "text": f"gen 2 is ready; only a restart takes over: {remark}"}
    assert f"the reload did not take over, a restart does: {remark}" in manager.stderr()
    assert manager.said("STATUS")[-1].endswith(f"takes over: {remark}")
    assert manager.said("RELOADING") == []  # who waits for the answer knows
    answer = control.request("reload", control_path)
    assert answer == {"ok": True, "text": "gen 3 is ready"}  # nobody told


def test_a_setting_of_the_project_that_only_the_supervisor_reads_is_named(
    manager: Manager, listener: Listener
) -> None:
    Path("app.py").write_text(APP)
    Path("pyproject.toml").write_text("[tool.sockact]\nworkers = 1\nlinger = 0.1\nprobation = 0.1\n")
    control_path = str(Path("control.sock").absolute())
    run = ("-m", "sockact", "run", f"--control={control_path}", "app:app")
    manager.start(["env", "-u", "SOCKACT_WORKERS", sys.executable, *run], [listener])
    manager.wait_ready()
    Path("pyproject.toml").write_text("[tool.sockact]\nworkers = 2\nlinger = 0.2\nprobation = 0.1\n")

    answer = control.request("reload", control_path)

    assert answer["text"] == "gen 2 is ready; only a restart takes over: workers=2"


def test_a_setting_of_the_program_that_only_the_supervisor_reads_is_named(
    manager: Manager, listener: Listener
) -> None:
    control_path = str(Path("control.sock").absolute())

    def write(**given: object) -> None:
        Path("program.py").write_text(PROGRAM.replace("{}", repr({"control": control_path, **given})))

    write(workers=1, probation=0.1, keep_alive=5)
    program = ["env", "-u", "SOCKACT_WORKERS", sys.executable, "program.py"]
    manager.start(program, [listener])
    manager.wait_ready()
    write(workers=3, keep_alive=6)

    answer = control.request("reload", control_path)

    assert answer["text"] == "gen 2 is ready; only a restart takes over: workers=3, no --probation"
    write(workers=1, probation=0.1, keep_alive=7)
    assert control.request("reload", control_path)["text"] == "gen 3 is ready"
