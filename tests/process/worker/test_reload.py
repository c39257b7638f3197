"""A reload: new code in the same process, and never a broken one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from sockact.system.signals import FREE
from tests.support.commands import SOCKACT, ask_for_reload, reload, wait_until_heard, wait_until_read
from tests.support.gate import APP, install
from tests.support.http_client import Client
from tests.support.manager import CHECKOUT, LIMIT, Manager, open_descriptors, wait_until
from tests.support.service import SLOW_STARTUP, Service, break_app


def test_a_reload_brings_the_new_code_into_the_same_process(service: Service) -> None:
    pid = service.start()
    install(service.directory, "2")

    status, text = reload(service)

    assert (status, text) == (0, "gen 2 is ready\n")
    answer = service.client().get().json
    assert answer == {**answer, "version": "2", "pid": pid, "path": "/", "length": 0}


def test_the_manager_hears_reloading_with_its_time_and_then_ready(service: Service) -> None:
    service.start()
    reload(service)

    reloading = service.manager.wait_for("RELOADING", "1")
    ready = service.manager.wait_ready()

    assert int(reloading.assignments["MONOTONIC_USEC"]) > 0
    assert ready.assignments["STATUS"].startswith("gen 2: ready")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_reloads_too(service: Service, number: signal.Signals) -> None:
    pid = service.start()
    install(service.directory, "2")

    service.manager.signal(number)
    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()

    assert service.client().get().json["version"] == "2"
    assert service.client().get().json["pid"] == pid


@pytest.mark.parametrize("number", FREE)
def test_signals_without_a_meaning_do_no_harm(service: Service, number: signal.Signals) -> None:
    service.start()

    service.manager.signal(number)

    assert service.client().get().status == 200


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x = (", "SyntaxError: '(' was never closed (app.py, line "),
        ("raise RuntimeError('at import: ✗')", "RuntimeError: at import: ✗"),
        (
            "async def lifespan(*_): raise RuntimeError('x')\nasync def app(s, r, t):\n await r(); 1/0",
            "division by zero",
        ),
        ("app = None", "expected a callable"),
        ("import os; os._exit(3)", "the new code exited with status 3 before it was ready"),
        ("import os; os.kill(os.getpid(), 9)", "the new code was killed by SIGKILL before it was ready"),
    ],
)
def test_broken_code_is_refused_and_the_old_code_goes_on(service: Service, line: str, reason: str) -> None:
    pid = service.start()
    break_app(service, line)

    status, text = reload(service)

    assert status == 1
    assert reason in text
    service.manager.wait_for("RELOADING", "1")
    ready = service.manager.wait_ready()
    assert ready.assignments["STATUS"].startswith("reload failed: ")
    assert reason in ready.assignments["STATUS"]
    assert reason in service.manager.stderr()
    assert service.client().get().json["pid"] == pid


def test_code_that_hangs_in_its_startup_is_refused(service: Service) -> None:
    service.start("--start-timeout=0.5s")
    break_app(service, "async def lifespan(*_): await asyncio.Event().wait()")

    status, text = reload(service)

    assert status == 1
    assert "the app's startup did not finish within 0.5 s" in text
    assert service.client().get().status == 200


def test_a_refused_reload_can_be_repeated_and_then_succeeds(service: Service) -> None:
    service.start()
    break_app(service, "x = (")
    assert reload(service)[0] == 1
    assert reload(service)[0] == 1

    install(service.directory, "3")

    assert reload(service) == (0, "gen 2 is ready\n")
    assert service.client().get().json["version"] == "3"


def test_a_request_in_flight_is_answered_by_the_old_code_and_a_newcomer_by_the_new(
    service: Service,
) -> None:
    service.start("--linger=60s", "--drain-timeout=60s")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    install(service.directory, "2")

    with ask_for_reload(service) as caller:
        service.manager.wait_for("STATUS", "gen 1: reloading, draining")
        newcomer = service.client()
        newcomer.ask()
        held.release()

        response = client.read()
        assert response.json["version"] == "1"
        assert not response.closes
        assert newcomer.read().json["version"] == "2"
        assert client.get().json["version"] == "2"
        assert caller.wait(LIMIT) == 0


def test_sockets_that_sockact_bound_itself_survive_a_reload(manager: Manager, tmp_path: Path) -> None:
    install(tmp_path)
    manager.sockact("app:app", "--listen=unix:web.sock", f"--control={tmp_path}/control")
    manager.wait_ready()
    with socket.socket(socket.AF_UNIX) as waiting:
        manager.signal(signal.SIGHUP)
        manager.wait_for("RELOADING", "1")
        waiting.connect("web.sock")
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        manager.wait_ready()

        assert b"200 OK" in waiting.recv(1000)


def test_a_program_that_calls_serve_is_run_again(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    main = tmp_path / "main.py"
    main.write_text("import sys, sockact, app\nsockact.serve(app.app, control='none')\nsys.exit(5)\n")
    path = {"PYTHONPATH": str(CHECKOUT)}
    pid = manager.start([sys.executable, "main.py", "an argument"], [listener], **path)
    manager.wait_ready()
    install(tmp_path, "2")

    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()

    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert command == [sys.executable, "main.py", "an argument", ""]
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        assert client.get().json["version"] == "2"
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 5


def test_a_program_from_standard_input_refuses_to_reload(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    script = tmp_path / "script"
    script.write_text("import sockact, app\nsockact.serve(app.app, control='none')\n")
    shell = f"exec {sys.executable} - <{script}"
    manager.start(["/bin/sh", "-c", shell], [listener], PYTHONPATH=f"{CHECKOUT}:{tmp_path}")
    manager.wait_ready()

    manager.signal(signal.SIGHUP)

    manager.wait_for("STATUS", "reload failed: an interactive interpreter has no command")


def test_a_release_behind_a_symbolic_link_is_resolved_again(service: Service, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"release{version}").mkdir()
        install(tmp_path / f"release{version}", version)
    current = tmp_path / "current"
    current.symlink_to("release1")
    install(tmp_path)  # what must not be found
    service.start(f"--chdir={current}")
    new = tmp_path / "new"
    new.symlink_to("release2")
    new.rename(current)

    assert reload(service)[0] == 0

    assert service.client().get().json["version"] == "2"


def test_requests_for_a_reload_during_one_are_all_answered(service: Service) -> None:
    service.start()
    callers = [ask_for_reload(service) for _ in range(4)]

    for caller in callers:
        with caller:
            assert caller.communicate(timeout=LIMIT)[1] == ""
            assert caller.returncode == 0


def start_with_slow_startup(service: Service) -> None:
    """Start the service with an app whose startup waits at the gate each time."""
    install(service.directory)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path, "GATE_STARTUP": "1"}
    service.manager.sockact("app:app", listeners=[service.listener], **environ)


def test_code_that_a_later_request_means_is_tried_before_the_drain(service: Service) -> None:
    start_with_slow_startup(service)
    service.gate.wait().release()
    service.manager.wait_ready()
    with ask_for_reload(service) as first:
        trial = service.gate.wait()  # of the code that the first request meant
        with ask_for_reload(service) as second:
            break_app(service, "x = (")
            wait_until_heard(second)
            wait_until_read(service)
            trial.release()

            assert second.communicate(timeout=LIMIT)[1].startswith("reload failed: ")
            assert first.wait(LIMIT) == 1
    assert service.client().get().json["version"] == "1"


def test_a_stop_overtakes_the_trial_of_a_reload(service: Service) -> None:
    service.start()
    break_app(service, "async def lifespan(*_): await asyncio.Event().wait()")
    with ask_for_reload(service) as caller:
        service.manager.wait_for("RELOADING", "1")
        service.manager.signal(signal.SIGTERM)
        service.manager.wait_for("STOPPING", "1")

        assert service.manager.wait_exit() == 0
        assert "the service was stopped" in caller.communicate(timeout=LIMIT)[1]
        assert caller.returncode == 1
    assert service.manager.said("READY") == ["1"]
    for line in service.manager.stderr().splitlines():
        if "tries the new code" in line:
            pid = line.rsplit("pid=", 1)[1].split()[0]
            assert not Path(f"/proc/{pid}").exists()


def test_a_stop_overtakes_the_drain_of_a_reload(service: Service) -> None:
    service.start("--drain-timeout=60s")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    with ask_for_reload(service) as caller:
        service.manager.wait_for("STATUS", "gen 1: reloading, draining")
        service.manager.signal(signal.SIGTERM)
        service.manager.wait_for("STOPPING", "1")
        held.release()

        assert client.read().status == 200
        assert client.at_eof()
        assert service.manager.wait_exit() == 0
        assert caller.wait(LIMIT) == 1
    assert service.manager.said("READY") == ["1"]


def test_a_caller_that_is_terminated_ends_in_good_order_and_so_does_the_reload(service: Service) -> None:
    pid = service.start()
    break_app(service, SLOW_STARTUP)
    with ask_for_reload(service) as caller:
        trial = service.gate.wait()
        caller.terminate()
        assert caller.wait(LIMIT) == 0
    trial.release()
    service.gate.wait().release()  # the new code itself

    service.manager.wait_for("READY", "1")
    assert service.client().get().json["pid"] == pid


def test_a_caller_that_is_terminated_before_python_is_there_ends_in_good_order(service: Service) -> None:
    service.start()
    break_app(service, SLOW_STARTUP)
    unit = (CHECKOUT / "units/app.service").read_text()
    prefix = re.search(r"^ExecReload=(.*) /opt/%p/venv/bin/sockact reload$", unit, re.MULTILINE)
    assert prefix
    environ = {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(service.directory)}
    with subprocess.Popen([*prefix[1].split(), *SOCKACT, "reload"], env=environ) as caller:
        wait_until(lambda: "sockact" in Path(f"/proc/{caller.pid}/cmdline").read_text().split("\0")[2:])
        wait_until(lambda: Path(f"/proc/{caller.pid}/exe").resolve() == Path(sys.executable).resolve())
        caller.terminate()

        assert caller.wait(LIMIT) == 0


ASK_AS_NOBODY = """
import contextlib, json, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    with contextlib.suppress(BrokenPipeError):  # the answer is there already
        sock.sendall(json.dumps({"verb": "reload"}).encode() + b"\\n")
    print(sock.makefile().readline())
"""


def ask_as_nobody(where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/python3", "-c", ASK_AS_NOBODY, where],
        user=65534, group=65534, extra_groups=[], cwd="/", text=True,
        capture_output=True, check=False, timeout=LIMIT,
    )  # fmt: skip


@pytest.mark.parametrize("place", ["runtime directory", "temporary"])
def test_only_root_and_the_services_own_user_are_obeyed(service: Service, place: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        pid = service.start(RUNTIME_DIRECTORY=directory if place == "runtime directory" else "")
        (where,) = Path(directory if place == "runtime directory" else "/tmp").glob(
            f"sockact-{pid}-*/control"
        )
        assert where.stat().st_mode & 0o777 == 0o600
        assert where.parent.stat().st_mode & 0o777 == 0o700
        out_of_reach = ask_as_nobody(where)
        where.chmod(0o666)  # so that only the credentials stand in the way
        where.parent.chmod(0o755)

        answer = ask_as_nobody(where)

    assert "PermissionError" in out_of_reach.stderr
    assert json.loads(answer.stdout) == {
        "ok": False,
        "text": "uid 65534 may not do that: only root and uid 0",
    }
    assert service.manager.said("RELOADING") == []
    assert service.client().get().status == 200


def test_without_a_runtime_directory_the_service_is_found_by_its_main_pid(service: Service) -> None:
    pid = service.start(RUNTIME_DIRECTORY="")

    with ask_for_reload(service, RUNTIME_DIRECTORY="", MAINPID=str(pid)) as caller:
        assert caller.communicate(timeout=LIMIT) == ("gen 2 is ready\n", "")


def test_reload_says_what_is_missing(service: Service) -> None:
    with ask_for_reload(service, RUNTIME_DIRECTORY="") as lost:
        assert (
            "RUNTIME_DIRECTORY and MAINPID of a service: both are unset"
            in lost.communicate(timeout=LIMIT)[1]
        )
        assert lost.returncode == 64
    with ask_for_reload(service) as early:
        assert "no service at the control socket" in early.communicate(timeout=LIMIT)[1]
        assert early.returncode == 69


@pytest.mark.parametrize("word", ["app.service", "--control=sockact.sock"])
def test_a_service_can_be_reloaded_from_a_shell(service: Service, word: str) -> None:
    pid = service.start(RUNTIME_DIRECTORY="" if word == "app.service" else str(service.directory))
    install(service.directory, "2")
    systemctl = service.directory / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nprintf 'LoadState=loaded\nMainPID={pid}\nRuntimeDirectory=\n'\n")
    systemctl.chmod(0o755)
    environ = {"PATH": f"{service.directory}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)}

    done = subprocess.run(
        [*SOCKACT, "reload", word], env=environ, capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert (done.returncode, done.stdout) == (0, "gen 2 is ready\n"), done.stderr
    assert service.client().get().json["version"] == "2"


def test_descriptors_do_not_pile_up_over_reloads(service: Service) -> None:
    pid = service.start()
    reload(service)
    before = open_descriptors(pid)
    for _ in range(5):
        assert reload(service)[0] == 0

    # A caller's own connection is closed a moment after it was answered.
    wait_until(lambda: open_descriptors(pid) <= before)


def test_a_sighup_before_the_loop_runs_is_remembered(service: Service) -> None:
    start_with_slow_startup(service)
    startup = service.gate.wait()
    service.manager.signal(signal.SIGHUP)
    startup.release()

    service.manager.wait_ready()
    service.manager.wait_for("RELOADING", "1")
    service.gate.wait().release()  # the trial
    service.gate.wait().release()  # the new code
    assert service.manager.wait_ready().assignments["STATUS"].startswith("gen 2: ready")


HANGING_WSGI = """
import os, socket, time

VERSION = "{version}"

def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(os.environ["GATE"])
            gate.sendall(b"hangs\\n")
        time.sleep(3600)
    start_response("200 OK", [("Content-Length", "1")])
    return [VERSION.encode()]
"""

HANGING_THREAD = """
import asyncio, os, time
from gate_app import gate

VERSION = "{version}"

async def app(scope, receive, send):
    if scope["path"] == "/hang":
        await gate("hangs")
        await asyncio.to_thread(time.sleep, 3600)
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""


@pytest.mark.parametrize("code", [HANGING_WSGI, HANGING_THREAD], ids=["wsgi", "to_thread"])
def test_a_thread_that_hangs_does_not_hold_a_reload_beyond_the_drain_timeout(
    service: Service, code: str
) -> None:
    app = service.directory / "app.py"
    app.write_text(code.format(version="1"))
    service.start("--lifespan=off", "--linger=0.1s", "--drain-timeout=0.3s", PYTHONPATH=str(APP.parent))
    service.client().ask("/hang")
    held = service.gate.wait()
    if code is HANGING_THREAD:
        held.release()
    app.write_text(code.format(version="2"))

    assert reload(service)[0] == 0

    assert "aborted: " in service.manager.stderr()
    assert service.client().get().body == b"2"


def test_code_that_breaks_between_the_trial_and_the_takeover_is_reported(service: Service) -> None:
    service.start()
    once = service.directory / "once"
    break_app(service, f"import os\nos.mkdir({str(once)!r})")

    status, text = reload(service)

    assert status == 1
    assert text.startswith("the new code failed to start: app cannot be imported: FileExistsError")
    assert service.manager.wait_exit() == 1
    assert service.manager.heard[-2].assignments["STATUS"].startswith("app cannot be imported")


def test_a_relative_directory_and_what_the_app_changes_do_not_matter_to_the_new_code(
    service: Service, tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    install(inner)
    install(tmp_path)
    service.start("--chdir=inner", MARK="as it was")
    app = inner / "app.py"
    app.write_text(
        app.read_text().replace('VERSION = "1"', 'VERSION = os.environ["MARK"]')
        + "\nos.environ['MARK'] = 'changed'\nos.chdir('/')\n"
    )
    for _ in range(2):
        assert reload(service)[0] == 0

        assert service.client().get().json["version"] == "as it was"


def test_a_working_directory_is_found_again_by_its_name(service: Service, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"release{version}").mkdir()
        install(tmp_path / f"release{version}", version)
    current = tmp_path / "current"
    current.symlink_to("release1")
    os.chdir(current)
    install(tmp_path)
    pwd = {"PWD": str(current), "RUNTIME_DIRECTORY": str(tmp_path), "GATE": service.gate.path}
    service.manager.sockact("app:app", listeners=[service.listener], **pwd)
    service.manager.wait_ready()
    new = tmp_path / "new"
    new.symlink_to("release2")
    new.rename(current)

    assert reload(service)[0] == 0

    assert service.client().get().json["version"] == "2"
