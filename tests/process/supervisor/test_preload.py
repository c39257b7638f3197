"""Workers that are forked from a template, which has imported the app once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from sockact.errors import AppError, SettingsError
from sockact.system.signals import HANDLED
from tests.support.commands import ask_for_reload, reload
from tests.support.gate import install
from tests.support.http_client import Client, get
from tests.support.manager import LIMIT, open_sockets, wait_until
from tests.support.processes import children, name, template, wait_gone, workers
from tests.support.service import LONG, Service, break_app, wait_answered_by

FORKED = ("--preload", "--workers=2", "--probation=0.1s")

APP = """
import os, random, sys
import sockact

VERSION = "1"
IMPORTED = os.getpid()
HOOKS = []
STATE = random.random()

@sockact.hooks.on_preload
def preload():
    HOOKS.append(("preload", os.getpid()))

@sockact.hooks.on_start
async def start():
    HOOKS.append(("start", os.getpid()))

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    import json
    body = json.dumps({"pid": os.getpid(), "imported": IMPORTED, "version": VERSION, "hooks": HOOKS,
                       "random": random.random(), "state": STATE, "parent": os.getppid(),
                       "group": os.getpgrp(), "name": open("/proc/self/comm").read().strip()})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
"""


@pytest.fixture
def forked(service: Service) -> Service:
    """Give the app as a service, not yet started."""
    (service.directory / "app.py").write_text(APP)
    return service


def answers(service: Service, count: int = 2) -> dict[int, dict[str, object]]:
    """Return an answer of each of so many workers, by PID."""
    found: dict[int, dict[str, object]] = {}

    def ask() -> bool:
        answer = get(service.listener).json
        found[answer["pid"]] = answer
        return len(found) >= count

    wait_until(ask)
    return found


def end(service: Service) -> None:
    """Stop it, so that what its workers have left is ended with them."""
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0


def test_the_app_is_imported_once_for_all_workers(forked: Service) -> None:
    pid = forked.start(*FORKED)

    imported = {answer["imported"] for answer in answers(forked).values()}
    assert imported == {template(pid)}
    assert template(pid) not in workers(pid)
    assert len(workers(pid)) == 2


def test_a_worker_is_a_child_of_its_supervisor_and_leads_a_group(forked: Service) -> None:
    pid = forked.start(*FORKED)

    for worker, answer in answers(forked).items():
        assert (answer["parent"], answer["group"]) == (pid, worker)
        assert answer["name"] != name(template(pid))


def test_each_worker_has_random_numbers_of_its_own(forked: Service) -> None:
    forked.start(*FORKED, "--workers=3")

    found = answers(forked, 3).values()
    assert len({answer["random"] for answer in found}) == 3
    assert len({answer["state"] for answer in found}) == 1  # of the import, which they share


def test_its_hooks_run_in_the_template_and_those_of_the_start_in_each_worker(forked: Service) -> None:
    pid = forked.start(*FORKED)

    for worker, answer in answers(forked).items():
        assert answer["hooks"] == [["preload", template(pid)], ["start", worker]]


def test_without_preload_they_run_in_each_worker(forked: Service) -> None:
    forked.start("--workers=2")

    for worker, answer in answers(forked).items():
        assert answer["hooks"] == [["preload", worker], ["start", worker]]


def test_a_dead_worker_is_replaced_by_the_code_of_its_generation(forked: Service) -> None:
    pid = forked.start(*FORKED)
    break_app(forked, "raise RuntimeError('not this one')")
    before = workers(pid)
    os.kill(before[0], signal.SIGKILL)

    wait_until(lambda: len({*workers(pid)} - {*before}) == 1)
    (new,) = {*workers(pid)} - {*before}
    wait_answered_by(forked, lambda text: f'"pid": {new},' in text)
    assert get(forked.listener).json["imported"] == template(pid)


def test_one_more_worker_is_forked_as_well(forked: Service) -> None:
    pid = forked.start(*FORKED)
    forked.manager.signal(signal.SIGTTIN)

    assert {answer["imported"] for answer in answers(forked, 3).values()} == {template(pid)}


def test_a_reload_imports_the_app_anew_and_ends_the_template_before(forked: Service) -> None:
    pid = forked.start(*FORKED)
    before = template(pid)
    (forked.directory / "app.py").write_text(APP.replace('"1"', '"2"'))

    assert reload(forked) == (0, "gen 2 is ready\n")
    wait_gone(before)
    wait_answered_by(forked, lambda text: '"version": "2"' in text)
    assert template(pid) not in (0, before)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raise RuntimeError('broken')", "broken"),
        ("@sockact.hooks.on_preload\ndef no():\n    raise OSError('no model')", "no model"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=[3600]).start()",
            "thread 'Thread-",
        ),
        (
            "import _thread, time\ndef wait():\n    time.sleep(3600)\n_thread.start_new_thread(wait, ())",
            "thread without a name in wait (",
        ),
        (
            "import _thread, time\n_thread.start_new_thread(time.sleep, (3600,))",
            "1 thread without a function of Python",
        ),
        ("import asyncio\nloop = asyncio.new_event_loop()", "an epoll descriptor"),
        ("import socket\npair = socket.socketpair()", "a socket, without an address"),
        ("import os\nos._exit(3)", "exited with status 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
    ],
)
def test_a_reload_of_what_cannot_be_forked_is_refused(forked: Service, line: str, reason: str) -> None:
    pid = forked.start(*FORKED)
    before = {template(pid), *workers(pid)}
    break_app(forked, line)

    status, text = reload(forked)

    assert status != 0
    assert reason in text
    wait_until(lambda: {*children(pid)} == before)
    assert get(forked.listener).json["pid"] in before


def test_a_start_of_what_cannot_be_forked_fails_with_its_reason(forked: Service) -> None:
    break_app(forked, "import socket\nserver = socket.create_server(('127.0.0.1', 0))")
    forked.manager.sockact("app:app", *FORKED, listeners=[forked.listener])

    assert forked.manager.wait_exit() == AppError.exit_status
    assert "a socket, 127.0.0.1:" in forked.manager.said("STATUS")[-1]
    assert forked.manager.stderr().count("cannot be forked") == 1


def test_a_start_that_fails_has_the_exit_status_of_its_reason(forked: Service) -> None:
    command = [sys.executable, "-m", "sockact", "run", *FORKED, "--tls-certificate=missing.pem", "app:app"]
    forked.manager.start(command, [forked.listener])

    assert forked.manager.wait_exit() == SettingsError.exit_status
    assert "SIGKILL" not in forked.manager.stderr()


def test_an_import_that_hangs_is_ended_with_the_reload(forked: Service) -> None:
    pid = forked.start(*FORKED, "--start-timeout=5s")
    before = {template(pid), *workers(pid)}
    break_app(forked, "import time\ntime.sleep(3600)")

    status, text = reload(forked)

    assert (status != 0, "not ready within 5 s" in text) == (True, True)
    wait_until(lambda: {*children(pid)} == before)


def test_workers_outlive_their_template_and_the_next_one_has_another(forked: Service) -> None:
    pid = forked.start(*FORKED)
    before, serving = template(pid), workers(pid)
    os.kill(before, signal.SIGKILL)
    wait_gone(before)
    assert get(forked.listener).json["pid"] in serving
    os.kill(serving[0], signal.SIGKILL)

    wait_until(lambda: template(pid) and len({*workers(pid)} - {*serving}) == 1)
    (new,) = {*workers(pid)} - {*serving}
    wait_answered_by(forked, lambda text: f'"pid": {new},' in text)


def test_a_template_that_is_stopped_is_replaced_when_a_worker_cannot_start(forked: Service) -> None:
    pid = forked.start(*FORKED, "--start-timeout=5s")
    before, serving = template(pid), workers(pid)
    os.kill(before, signal.SIGSTOP)
    os.kill(serving[0], signal.SIGKILL)

    wait_gone(before)
    wait_until(lambda: len(workers(pid)) == 2)
    wait_until(lambda: get(forked.listener).json["imported"] != before)


def test_a_stop_during_the_import_ends_it(forked: Service) -> None:
    forked.start(*FORKED)
    break_app(forked, "import time\nopen('imports', 'w').close()\ntime.sleep(3600)")
    with ask_for_reload(forked) as caller:
        wait_until((forked.directory / "imports").exists)
        forked.manager.signal(signal.SIGTERM)

        assert caller.wait(LIMIT) != 0
    assert forked.manager.wait_exit() == 0


def test_nothing_is_left_after_a_stop(forked: Service) -> None:
    pid = forked.start(*FORKED)
    all_of_them = children(pid)
    forked.manager.signal(signal.SIGTERM)

    assert forked.manager.wait_exit() == 0
    assert not any(Path(f"/proc/{each}").exists() for each in all_of_them)


def test_if_the_supervisor_is_killed_its_template_and_its_workers_end(forked: Service) -> None:
    pid = forked.start(*FORKED)
    all_of_them = children(pid)
    os.kill(pid, signal.SIGKILL)

    for each in all_of_them:
        wait_gone(each)


def test_signals_for_the_whole_service_do_not_end_a_template(forked: Service) -> None:
    pid = forked.start(*FORKED)
    for number in HANDLED:
        os.kill(template(pid), number)
    os.kill(workers(pid)[0], signal.SIGKILL)

    wait_until(lambda: len(answers(forked)) == 2)
    assert {answer["imported"] for answer in answers(forked).values()} == {template(pid)}


def test_what_a_worker_leaves_in_its_group_is_ended_with_it(forked: Service) -> None:
    break_app(
        forked,
        "import subprocess\n"
        "@sockact.hooks.on_start\nasync def leave():\n"
        "    child = subprocess.Popen(['sleep', '3600'])\n"
        "    HOOKS.append(('left', child.pid))\n",
    )
    pid = forked.start(*FORKED)
    (worker, answer), *_ = answers(forked).items()
    left = next(number for what, number in answer["hooks"] if what == "left")  # type: ignore[attr-defined]
    os.kill(worker, signal.SIGKILL)

    wait_gone(left)
    wait_until(lambda: len(workers(pid)) == 2)
    end(forked)


def test_what_a_fast_worker_leaves_is_in_its_group(forked: Service) -> None:
    """It has started a child before the process between it and the template goes on after the fork."""
    break_app(
        forked,
        "import subprocess, time\n"
        "@sockact.hooks.on_start\nasync def leave():\n"
        "    child = subprocess.Popen(['sleep', '3600'])\n"
        "    open(f'left.{child.pid}', 'w').close()\n"
        "    HOOKS.append(('group', os.getpgid(child.pid)))\n"
        "def wait():\n"
        "    limit = time.monotonic() + 10\n"
        "    while time.monotonic() < limit and not any('left' in name for name in os.listdir()):\n"
        "        time.sleep(0.01)\n"
        "os.register_at_fork(after_in_parent=wait)",
    )
    forked.start(*FORKED)

    for worker, answer in answers(forked).items():
        assert ["group", worker] in answer["hooks"]  # type: ignore[operator]
    end(forked)


def test_children_that_leave_their_group_are_reaped_by_the_supervisor(forked: Service) -> None:
    break_app(
        forked,
        "@sockact.hooks.on_start\nasync def daemonize():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            open(f'daemon.{os.getpid()}', 'w').close()\n"
        "        os._exit(0)\n"
        "    os.wait()\n",
    )
    pid = forked.start(*FORKED)

    wait_until(lambda: len(list(forked.directory.glob("daemon.*"))) == 2)
    wait_until(lambda: len(children(pid)) == 3)


def test_a_program_that_calls_serve_is_forked_where_it_does(forked: Service) -> None:
    program = APP + "sockact.serve(app, workers=2, probation=0.1, preload=True)\n"
    (forked.directory / "program.py").write_text(program)
    forked.manager.start([sys.executable, "program.py"], [forked.listener])
    forked.manager.wait_ready()

    assert len({answer["imported"] for answer in answers(forked).values()}) == 1
    forked.manager.signal(signal.SIGTERM)
    assert forked.manager.wait_exit() == 0


@pytest.mark.parametrize(
    ("options", "command", "reason"),
    [
        (("--workers=0",), ("app:app",), "expected workers of at least 1"),
        ((), ("--", "/bin/sleep", "3600"), "expected an app of Python, found the program /bin/sleep"),
    ],
)
def test_where_nothing_can_be_forked_that_is_an_error(
    forked: Service, options: tuple[str, ...], command: tuple[str, ...], reason: str
) -> None:
    forked.manager.start(
        [sys.executable, "-m", "sockact", "run", "--preload", *options, *command], [forked.listener]
    )

    assert forked.manager.wait_exit() == SettingsError.exit_status
    assert reason in forked.manager.said("STATUS")[-1]


def test_a_worker_that_drains_ends_while_others_are_forked(forked: Service) -> None:
    """Recycling: each worker ends after a few requests, and no request is lost."""
    forked.start(*FORKED, "--max-requests=5")
    pids = set()
    end = time.monotonic() + LIMIT
    while len(pids) < 6:
        assert time.monotonic() < end
        pids.add(get(forked.listener).json["pid"])


def test_what_the_import_has_started_lives_as_long_as_its_workers(service: Service) -> None:
    install(service.directory)
    break_app(
        service,
        "import subprocess\nhelper = subprocess.Popen(['sleep', '3600'])\n"
        "open('helper', 'w').write(str(helper.pid))",
    )
    service.start(*FORKED, *LONG)
    helper = int((service.directory / "helper").read_text())
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    assert reload(service) == (0, "gen 2 is ready\n")
    assert Path(f"/proc/{helper}").exists()
    held.release()
    assert client.read().status == 200
    client.close()
    wait_gone(helper)


def test_an_app_that_ignores_the_end_of_its_children_is_forked_as_well(forked: Service) -> None:
    break_app(forked, "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    forked.start(*FORKED)

    assert len(answers(forked)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_was_forked_obeys_signals(forked: Service, number: signal.Signals) -> None:
    """Its template ignores them."""
    pid = forked.start(*FORKED)
    before = workers(pid)
    os.kill(before[0], number)

    wait_gone(before[0])
    wait_until(lambda: len(workers(pid)) == 2)


def test_a_newcomer_is_refused_while_a_service_with_sockets_of_its_own_drains(service: Service) -> None:
    install(service.directory)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    where = f"--listen={address[0]}:{address[1]}"
    service.manager.sockact("app:app", *FORKED, *LONG, where, **environ)
    service.manager.wait_ready()
    with Client(address) as client:
        client.ask("/hold")
        held = service.gate.wait()
        service.manager.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(address))
        held.release()
        assert client.read().status == 200
    assert service.manager.wait_exit() == 0


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, LIMIT).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_process_that_the_app_of_a_forked_worker_makes_has_none_of_our_sockets(forked: Service) -> None:
    break_app(
        forked,
        "@sockact.hooks.on_start\nasync def fork():\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        import time\n"
        "        open(f'child.{os.getpid()}', 'w').close()\n"
        "        time.sleep(3600)\n",
    )
    forked.start(*FORKED)

    wait_until(lambda: len(list(forked.directory.glob("child.*"))) == 2)
    made = [int(path.suffix[1:]) for path in forked.directory.glob("child.*")]
    assert [open_sockets(child) for child in made] == [0, 0]
    forked.manager.signal(signal.SIGTERM)
    assert forked.manager.wait_exit() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in made)
