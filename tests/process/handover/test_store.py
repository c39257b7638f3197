"""Connections that a process keeps for the one after it: in its own place, or in the manager's store."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence

import pytest

from sockact.handover.transfer import CONNECTION
from sockact.probe.background import BackgroundProbe
from sockact.sockets.fds import Kind
from sockact.system.signals import FOLLOWED
from tests.support.commands import ask_for_reload, reload, reload_all
from tests.support.gate import install
from tests.support.http_client import Client
from tests.support.manager import CHECKOUT, open_descriptors, wait_until
from tests.support.processes import allow, wait_gone, workers
from tests.support.service import SLOW_STARTUP, Service, begin_stop, break_app

BOTH = pytest.mark.parametrize(
    "role", [("--workers=0",), ("--workers=2", "--probation=0.1s")], ids=["alone", "supervised"]
)
STORE = {"FDSTORE": "100", "PATH": ""}
"""Without PATH there is no systemctl to ask: a systemd that runs here knows nothing of these services."""


def begin_restart(service: Service) -> None:
    """Do what systemd and the unit's `ExecStop=` do at the beginning of a restart."""
    service.manager.signal(FOLLOWED)
    begin_stop(service)


def end(service: Service) -> None:
    """End it as the first half of a restart."""
    service.manager.signal(FOLLOWED)
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0


def restart(service: Service, *options: str) -> int:
    end(service)
    return service.start(*options, **STORE)


def test_connections_survive_reloads_in_place(service: Service) -> None:
    service.start()
    client = service.client()
    facts = client.get().json
    fresh = service.accepted()

    for _ in range(3):
        assert reload(service)[0] == 0
        answer = client.get()
        assert not answer.closes
        assert answer.json == facts

    assert not fresh.get().closes


def test_what_is_sent_in_the_drain_of_a_reload_is_answered_by_the_new_code(service: Service) -> None:
    service.start("--linger=20s")
    client = service.client()
    client.get()
    busy = service.client()
    busy.ask("/hold")
    held = service.gate.wait()

    with ask_for_reload(service):
        service.manager.wait_for("STATUS", "gen 1: reloading, draining")
        client.ask()
        held.release()

        assert not client.read().closes
        assert not busy.read().closes
        assert busy.get().status == 200


@pytest.mark.parametrize("room", [0, 100])
def test_a_stop_in_the_drain_of_a_reload_serves_what_the_new_code_was_to_have(
    service: Service, room: int
) -> None:
    service.start("--linger=1s", FDSTORE=f"{room}", PATH="")
    client, silent, busy = (service.client() for _ in range(3))
    client.get()
    silent.get()
    busy.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGHUP)
    service.manager.wait_for("STATUS", "gen 1: reloading, draining, 1 request in flight, 1 connection")
    client.ask()

    service.manager.signal(FOLLOWED)
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    assert client.read().status == 200
    held.release()

    assert busy.read().status == 200
    assert service.manager.wait_exit() == 0
    assert len(service.manager.stored) == (3 if room else 0)
    if not room:
        assert client.at_eof()
        assert silent.at_eof()


@pytest.mark.slow
def test_no_client_has_to_reconnect_over_reloads_in_place(service: Service) -> None:
    service.start()
    kinds = ("persistent:4@max", "persistent:20@4")
    with BackgroundProbe(f"http://{service.listener.address}", kinds) as clients:
        for _ in range(10):
            assert reload(service)[0] == 0
        report = clients.report()

    assert report["lost"] == 0, report["failures"]
    assert report["total"]["connections"] == 24


@BOTH
def test_connections_survive_restarts(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, **STORE)
    client = service.client()
    facts = client.get().json
    fresh = service.accepted()

    for _ in range(2):
        pid = restart(service, *role)
        answer = client.get()
        assert not answer.closes
        assert answer.json["pid"] in (workers(pid) or [pid])
        assert {**answer.json, "pid": 0} == {**facts, "pid": 0}

    assert not fresh.get().closes


@BOTH
def test_what_is_sent_while_no_process_lives_is_answered_by_the_next(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, **STORE)
    client = service.client()
    client.get()
    end(service)

    client.ask()

    service.start(*role, **STORE)
    assert not client.read().closes


@BOTH
def test_the_last_response_before_a_restart_does_not_end_its_connection(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, **STORE)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    begin_restart(service)
    held.release()

    assert not client.read().closes

    assert service.manager.wait_exit() == 0
    service.start(*role, **STORE)
    assert client.get().status == 200


@BOTH
def test_a_process_that_is_killed_in_the_drain_before_a_restart_has_stored_what_was_idle(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, **STORE)
    idle, busy = service.client(), service.client()
    idle.get()
    busy.ask("/hold")
    service.gate.wait()
    begin_restart(service)
    manager = service.manager
    manager.wait_until(lambda said: said.assignments.get("FDSTORE") == "1", "FDSTORE=1")

    manager.signal(signal.SIGKILL)
    manager.wait_exit()
    service.start(*role, **STORE)

    assert not idle.get().closes


@BOTH
def test_a_connection_that_the_app_closes_is_closed(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, **STORE)
    client = service.client()
    client.get()
    restart(service, *role)

    client.ask_last()

    assert client.read().closes
    assert client.at_eof()
    assert service.manager.stored == []


@BOTH
def test_a_client_that_has_gone_meanwhile_harms_nobody(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, **STORE)
    gone, here = service.client(), service.client()
    gone.get()
    here.get()
    end(service)
    gone.close()

    service.start(*role, **STORE)

    assert here.get().status == 200


@BOTH
def test_what_the_store_has_no_room_for_stays_for_a_while(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, "--linger=0.5s", FDSTORE="2")
    clients = [service.client() for _ in range(5)]
    for client in clients:
        client.get()

    end(service)

    assert len(service.manager.stored) == 2
    closed, _, _ = select.select([client.sock for client in clients], [], [], 0)
    assert len(closed) == 3


@BOTH
def test_without_a_store_connections_are_closed_as_ever(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, "--linger=0.2s")
    client = service.client()
    client.get()
    end(service)

    assert client.at_eof()
    assert service.manager.stored == []


@BOTH
def test_a_stop_of_which_nobody_says_that_a_start_follows_stores_nothing(
    service: Service, role: tuple[str, ...]
) -> None:
    """Systemd closes what it has stored when a unit stops for good, with requests in it."""
    service.start(*role, "--linger=0.2s", **STORE)
    client, busy = service.client(), service.client()
    client.get()
    busy.ask("/hold")
    held = service.gate.wait()
    begin_stop(service)
    assert client.at_eof()  # so the drain is under way
    held.release()

    assert busy.read().closes
    assert service.manager.wait_exit() == 0
    assert service.manager.stored == []


@BOTH
@pytest.mark.parametrize("first", [FOLLOWED, signal.SIGTERM])
def test_a_word_that_waits_with_the_signal_to_end_is_heard(
    service: Service, role: tuple[str, ...], first: signal.Signals
) -> None:
    """A process that is busy, or halted, finds both at once; the kernel delivers SIGTERM first."""
    pid = service.start(*role, **STORE)
    client = service.client()
    client.get()
    service.manager.signal(signal.SIGSTOP)
    for number in (first, *{FOLLOWED, signal.SIGTERM} - {first}):
        os.kill(pid, number)

    service.manager.signal(signal.SIGCONT)

    assert service.manager.wait_exit() == 0
    assert len(service.manager.stored) == 1


@BOTH
def test_it_can_be_switched_off(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, "--no-handover", "--linger=0.2s", **STORE)
    client = service.client()
    client.get()

    end(service)

    assert client.at_eof()


@BOTH
def test_code_that_does_not_start_leaves_them_to_the_next(service: Service, role: tuple[str, ...]) -> None:
    service.start(*role, **STORE)
    client = service.client()
    client.get()
    end(service)
    client.ask()
    app = service.directory / "app.py"
    good = app.read_text()
    app.write_text("raise RuntimeError('broken')")
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path, **STORE}
    service.manager.sockact("app:app", *role, listeners=[service.listener], **environ)
    assert service.manager.wait_exit() == 1
    app.write_text(good)

    service.start(*role, **STORE)

    assert client.read().status == 200


def test_a_program_that_takes_no_connections_does_not_keep_them(service: Service) -> None:
    service.start("--workers=1", "--probation=0.1s", **STORE)
    client = service.client()
    client.get()

    restart(service, "--workers=1", "--probation=0.1s", "--no-handover")

    assert client.at_eof()
    assert service.manager.stored == []


def test_only_connections_are_stored(service: Service) -> None:
    service.start(**STORE)
    service.client().get()

    end(service)

    assert [(each.name, each.kind) for each in service.manager.stored] == [(CONNECTION, Kind.STREAM)]


def test_new_code_that_fails_after_all_leaves_them_to_the_next(service: Service) -> None:
    # The canary starts, the code itself does not: it finds what the canary has left.
    service.start(**STORE)
    client = service.client()
    client.get()
    app = service.directory / "app.py"
    good = app.read_text()
    once = 'import pathlib; pathlib.Path("canary-was-here").touch(exist_ok=False)\n'
    app.write_text(good.replace('"""\n\n', f'"""\n\n{once}', 1))

    service.manager.signal(signal.SIGHUP)
    assert service.manager.wait_exit() == 1
    client.ask()
    app.write_text(good)
    service.start(**STORE)

    assert client.read().status == 200


def test_a_program_that_does_not_know_the_name_is_not_harmed(service: Service) -> None:
    service.start(**STORE)
    client = service.client()
    client.get()
    end(service)

    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    uvicorn = [sys.executable, "-m", "uvicorn", "--fd=3", "--log-level=warning", "app:app"]
    service.manager.start(uvicorn, [service.listener], **environ)

    assert service.client().get().status == 200


def counted(clients: Sequence[Client]) -> tuple[int, int]:
    """Ask on each connection; return how many were answered, and how many had been closed."""
    answered = 0
    for client in clients:
        try:
            answered += client.get().status == 200
        except (AssertionError, OSError):
            continue
    return answered, len(clients) - answered


def test_a_process_short_of_descriptors_keeps_only_as_many_as_it_can_pass_on(service: Service) -> None:
    pid = service.start("--linger=0.2s")
    allow(pid, 100)
    clients = [service.client() for _ in range(40)]
    for client in clients:
        client.get()

    assert reload(service)[0] == 0

    assert counted(clients) == (17, 23)
    assert reload(service)[0] == 0


def test_a_supervisor_short_of_descriptors_leaves_connections_where_they_are(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s", "--linger=0.2s")
    clients = [service.client() for _ in range(60)]
    for client in clients:
        client.get()
    before = open_descriptors(pid)
    allow(pid, before + 40)

    reload_all(service, pid)

    assert counted(clients) == (0, 60)
    wait_until(lambda: open_descriptors(pid) == before)  # those of the worker before go when it is reaped
    allow(pid, 1024)
    client = service.client()
    client.get()
    reload_all(service, pid)
    assert client.get().status == 200


def test_what_a_new_worker_has_no_descriptors_for_is_served_when_it_has(service: Service) -> None:
    service.manager.most = 64
    pid = service.start("--workers=1", "--probation=0.1s")
    allow(workers(pid)[0], 1024)
    clients = [service.client() for _ in range(60)]
    for client in clients:
        client.get()

    reload_all(service, pid)

    wait_until(lambda: "run out of descriptors; handed-over connections" in service.manager.stderr())
    allow(workers(pid)[0], 1024)
    assert counted(clients) == (60, 0)


def test_a_supervisor_may_have_more_descriptors_than_its_workers(service: Service) -> None:
    service.manager.most = 64
    pid = service.start("--workers=1")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (most, most)
    assert resource.prlimit(workers(pid)[0], resource.RLIMIT_NOFILE) == (64, most)


SLOWLY_ASKED = """
import os, sys, time
from sockact.cli import main
from sockact.handover import store

def is_followed():
    open("asked", "w").close()
    while not os.path.exists("told"):
        time.sleep(0.01)
    return False

store.is_followed = is_followed
main.main()
"""


@BOTH
def test_an_abort_that_comes_while_the_manager_is_asked_is_no_less_one(
    service: Service, role: tuple[str, ...]
) -> None:
    install(service.directory)
    program = service.directory / "slowly.py"
    program.write_text(SLOWLY_ASKED)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path, "FDSTORE": "100"}
    command = [sys.executable, str(program), "run", *role, "--drain-timeout=none", "app:app"]
    service.manager.start(command, [service.listener], **environ)
    service.manager.wait_ready()
    client = service.client()
    client.ask("/hold")
    service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    wait_until((service.directory / "asked").exists)

    service.manager.signal(signal.SIGQUIT)
    service.manager.signal(signal.SIGUSR1)  # is handled after it, and leaves a trace
    wait_until(lambda: "SIGUSR1 has no meaning" in service.manager.stderr())
    (service.directory / "told").touch()

    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_waits_for_a_worker_that_starts_is_stored_though_nobody_says_that_a_start_follows(
    service: Service, end: signal.Signals
) -> None:
    """A stranger has ended the only worker, and a restart comes before there is another; or a kill."""
    pid = service.start("--workers=1", "--probation=0.1s", **STORE)
    client = service.client()
    client.get()
    break_app(service, SLOW_STARTUP)
    (worker,) = workers(pid)
    os.kill(worker, signal.SIGTERM)
    service.gate.wait()
    wait_gone(worker)
    client.ask()

    service.manager.signal(end)
    assert service.manager.wait_exit() == (0 if end is signal.SIGTERM else -end)
    install(service.directory)
    service.start("--workers=1", "--probation=0.1s", **STORE)

    assert client.read().status == 200
    assert CONNECTION not in [each.name for each in service.manager.stored]


IMPORT_AT_GATE = """
import os, socket
with socket.socket(socket.AF_UNIX) as gate_of_import:
    gate_of_import.connect(os.environ["GATE"])
    gate_of_import.sendall(b"import\\n")
    gate_of_import.recv(1)
"""


def start_again(service: Service, line: str) -> None:
    """Start the second half of a restart, until the app waits at the gate, with `line` at its end."""
    break_app(service, line)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path, **STORE}
    service.manager.sockact("app:app", "--workers=0", listeners=[service.listener], **environ)


@pytest.mark.parametrize("line", [SLOW_STARTUP, IMPORT_AT_GATE], ids=["startup", "import"])
def test_a_stop_in_the_start_serves_what_waits_for_it(service: Service, line: str) -> None:
    service.start("--workers=0", **STORE)
    client, silent = service.client(), service.client()
    for each in (client, silent):
        each.get()
    end(service)
    start_again(service, line)
    held = service.gate.wait()
    client.ask()

    service.manager.signal(signal.SIGTERM)
    held.release()

    assert client.read().status == 200
    assert service.manager.wait_exit() == 0
    assert silent.at_eof()


FIRST_LINE_AT_GATE = """
import os
if os.path.exists(f"{os.environ.get('RUNTIME_DIRECTORY')}/{os.getpid()}"):
""" + IMPORT_AT_GATE.replace("\n", "\n    ")
"""For sitecustomize.py, which Python imports first: waits in a process whose PID is the name of a file."""


def assert_a_stop_at_the_gate_serves_what_waits(service: Service, release: Callable[[], object]) -> None:
    """Release new code, reload to it, and stop the process as it waits at the gate."""
    client, silent = service.client(), service.client()
    for each in (client, silent):
        each.get()
    release()
    with ask_for_reload(service):
        held = service.gate.wait()
        client.ask()

        service.manager.signal(signal.SIGTERM)
        held.release()

        assert client.read().json["version"] == "2"
    assert service.manager.wait_exit() == 0
    assert silent.at_eof()


def test_a_stop_in_the_first_moment_of_new_code_serves_what_was_passed_to_it(service: Service) -> None:
    (service.directory / "sitecustomize.py").write_text(FIRST_LINE_AT_GATE)
    pid = service.start("--workers=0", PYTHONPATH=f"{service.directory}:{CHECKOUT}")

    def release() -> None:
        install(service.directory, "2")
        (service.directory / str(pid)).touch()

    assert_a_stop_at_the_gate_serves_what_waits(service, release)


HOLDS_THE_LOOP = """
import asyncio, signal, time, sockact
@sockact.hooks.on_start
async def hold():
    loop, handles = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
    def until_released():
        while signal.getsignal(signal.SIGTERM) is handles:
            time.sleep(0.001)
        wait_at_gate()
    if sockact.role() == "alone":
        loop.run_in_executor(None, until_released)
"""


def test_a_stop_in_the_last_moment_of_old_code_serves_what_it_passes_on(service: Service) -> None:
    """Its loop has ended, and so has the handling of signals; something of the app's is waited for."""
    install(service.directory)
    break_app(service, "def wait_at_gate():" + IMPORT_AT_GATE.replace("\n", "\n    ") + HOLDS_THE_LOOP)
    service.start("--workers=0")

    assert_a_stop_at_the_gate_serves_what_waits(service, lambda: install(service.directory, "2"))


def test_an_abort_of_a_stop_in_the_start_waits_for_nothing(service: Service) -> None:
    service.start("--workers=0", **STORE)
    service.client().get()
    end(service)
    start_again(service, SLOW_STARTUP)
    service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")

    service.manager.signal(signal.SIGQUIT)

    assert service.manager.wait_exit() == 0


def test_an_import_that_hangs_is_ended_by_another_sigterm(service: Service) -> None:
    service.start("--workers=0", **STORE)
    service.client().get()
    end(service)
    start_again(service, IMPORT_AT_GATE)
    service.gate.wait()

    def has_ended_by_another() -> bool:
        service.manager.signal(signal.SIGTERM)
        return not service.manager.running

    wait_until(has_ended_by_another)
    assert service.manager.wait_exit() == -signal.SIGTERM


def test_a_stop_in_a_start_for_which_nothing_waits_is_not_delayed(service: Service) -> None:
    install(service.directory)
    start_again(service, SLOW_STARTUP)
    service.gate.wait()

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize(
    "role", [("--workers=0",), ("--workers=1", "--probation=0.1s")], ids=["alone", "supervised"]
)
def test_a_restart_that_is_called_off_serves_what_was_kept_for_it(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, "--linger=1s", **STORE)
    client, silent, busy = (service.client() for _ in range(3))
    client.get()
    silent.get()
    busy.ask("/hold")
    held = service.gate.wait()
    begin_restart(service)
    wait_until(lambda: len(service.manager.stored) >= 2)
    client.ask()

    service.manager.signal(FOLLOWED)

    assert client.read().status == 200
    held.release()
    assert busy.read().closes
    assert service.manager.wait_exit() == 0
    assert silent.at_eof()
    assert not service.manager.stored


def test_a_restart_that_is_called_off_before_its_drain_keeps_nothing(service: Service) -> None:
    service.start("--workers=0", "--drain-delay=1s", **STORE)
    client = service.client()
    client.get()

    service.manager.signal(FOLLOWED)
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    service.manager.signal(FOLLOWED)

    assert service.manager.wait_exit() == 0
    assert client.at_eof()
    assert not service.manager.stored
