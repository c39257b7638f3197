"""`sockact check-app`: what would not serve is found out before a deploy, and nothing is touched for it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import SOCKACT, check, reload
from tests.support.gate import install
from tests.support.manager import LIMIT, Manager
from tests.support.processes import workers
from tests.support.service import Service, break_app

WSGI = "def app(environ, start_response): return []"


@pytest.mark.parametrize(("line", "kind"), [("", "asgi"), (WSGI, "wsgi")], ids=["asgi", "wsgi"])
def test_an_app_that_would_serve_passes_the_check(service: Service, line: str, kind: str) -> None:
    install(service.directory)
    break_app(service, line)

    status, out, _ = check(service, "app:app", "--workers=4", "--max-requests=100")

    assert (status, out) == (0, f"app:app: started as {kind}\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x = (", "app cannot be imported: SyntaxError: '(' was never closed"),
        ("del app", "app has no 'app'"),
        ("app = None", "expected a callable, such as an ASGI or a WSGI app"),
        ("async def app(s, r, t):\n await r(); raise RuntimeError('no database')", "no database"),
        ("async def app(s, r, t): await asyncio.Event().wait()", "did not finish within 0.5 s"),
        ("import os; os._exit(3)", "the new code exited with status 3 before it was ready"),
    ],
)
def test_an_app_that_would_not_serve_fails_the_check(service: Service, line: str, reason: str) -> None:
    install(service.directory)
    break_app(service, line)

    status, out, err = check(service, "app:app", "--start-timeout=0.5s")

    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("sockact: app:app: ")
    assert reason in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("ap",), 64, "'ap': expected module:attribute, such as app:app"),
        (("app:app", "--linger=soon"), 78, "linger='soon': expected a time span"),
        (("app:app", "--env-file=missing"), 78, "env_file='missing': No such file or directory"),
        (
            ("app:app", "--tls-certificate=missing"),
            78,
            "sockact: app:app: tls_certificate=missing: No such",
        ),
        (("app:app", "--trusted-proxies=somebody"), 78, "sockact: app:app: trusted_proxies=somebody: "),
    ],
)
def test_a_check_that_makes_no_sense_says_so(
    service: Service, words: tuple[str, ...], status: int, reason: str
) -> None:
    install(service.directory)

    found, _, err = check(service, *words)

    assert (found, reason in err) == (status, True), err


def test_several_apps_are_checked_together(service: Service) -> None:
    install(service.directory)
    (service.directory / "echo.py").write_text("async def echo(reader, writer): pass\n")
    apps = ("web=app:app", "raw=echo:echo")

    assert check(service, *apps)[:2] == (0, "web=app:app raw=echo:echo: started as asgi, stream\n")
    assert check(service, "web=app:app", "raw=echo:none")[0] == 1
    assert check(service, "web=app:app", "echo:echo")[0] == 64
    assert check(service, "web=app:app", "raw=echo")[0] == 64


def test_the_check_obeys_the_settings_of_the_service(service: Service) -> None:
    inner = service.directory / "inner"
    inner.mkdir()
    install(inner)
    (inner / "app.py").write_text((inner / "app.py").read_text() + "\nos.environ['MARK']\n")
    (service.directory / "app.env").write_text("MARK=set\n")
    factory = "\ndef make(): return app\nasync def lifespan(s, receive, t): await receive(); 1/0\n"
    (inner / "app.py").write_text((inner / "app.py").read_text() + factory)
    words = ("app:make", "--factory", "--env-file=app.env", "--lifespan=off")

    assert check(service, *words, SOCKACT_CHDIR="inner")[0] == 0
    assert check(service, *words[:-1], SOCKACT_CHDIR="inner")[0] == 1
    assert check(service, *words[:-1], SOCKACT_CHDIR="inner", SOCKACT_LIFESPAN="off")[0] == 0


WITHOUT_SOCKETS = """
import os, socket, stat
for fd in map(int, os.listdir("/proc/self/fd")):
    if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode):
        with socket.socket(fileno=os.dup(fd)) as sock:
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), sock
"""


def test_the_check_obeys_the_settings_of_the_project(service: Service) -> None:
    install(service.directory)
    (service.directory / "pyproject.toml").write_text('[tool.sockact]\nenv_file = ["missing"]\n')

    status, _, err = check(service, "app:app")

    assert (status, "env_file='missing'" in err) == (78, True), err


def test_the_check_has_no_sockets_and_tells_the_manager_nothing(service: Service, manager: Manager) -> None:
    """It may run inside of the unit, in an ExecStartPre= for example."""
    install(service.directory)
    break_app(service, WITHOUT_SOCKETS)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "SOCKACT_PID_FILE": "pid"}
    manager.start([*SOCKACT, "check-app", "app:app"], [service.listener], **environ)

    assert manager.wait_exit() == 0, manager.report()
    assert [message.assignments for message in manager.heard if "X_LAST" not in message.assignments] == []
    assert {path.name for path in service.directory.iterdir()} <= {
        "app.py", "gate.sock", "stderr.log", "__pycache__",
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_check_that_is_ended_leaves_nothing_behind(service: Service, number: signal.Signals) -> None:
    install(service.directory)
    environ = {"PATH": os.environ["PATH"], "GATE": service.gate.path, "GATE_STARTUP": "1"}
    # A shell lets what it runs in its background ignore SIGINT, and that may be us.
    command = ["env", "--default-signal=INT", *SOCKACT, "check-app", "app:app"]
    with subprocess.Popen(command, env=environ, cwd=service.directory, stderr=subprocess.PIPE) as checking:
        held = service.gate.wait()
        (trial,) = workers(checking.pid)
        checking.send_signal(number)
        _, err = checking.communicate(timeout=LIMIT)

    assert checking.returncode == 1
    assert b"ended by a signal before there was a result" in err
    assert not Path(f"/proc/{trial}").exists()
    held.close()


def test_a_reload_in_place_asks_the_same_check(service: Service) -> None:
    """A supervisor's new workers are that check themselves: see test_supervisor.py."""
    service.start("--workers=0")
    break_app(service, "app = None")

    reason = check(service, "app:app")[2].splitlines()[-1].removeprefix("sockact: app:app: ")

    assert reload(service) == (1, f"reload failed: {reason}\n")
