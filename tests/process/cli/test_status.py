"""`sockact status`: what a service and its workers say of themselves."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ask, reload, status
from tests.support.manager import LIMIT, wait_until
from tests.support.processes import workers
from tests.support.service import Service, break_app
from tests.support.terminal import on_terminal


def test_a_service_without_workers_shows_itself(service: Service) -> None:
    pid = service.start()
    client = service.client()
    client.get()
    client.ask("/hold")
    held = service.gate.wait()

    shown = status(service)

    assert (shown["phase"], shown["pid"], shown["generation"]) == ("active", pid, 1)
    assert shown["status"] == "gen 1: ready, 1 request in flight"
    assert shown["reload"] is None
    (row,) = shown["workers"]
    assert row.pop("uptime") > 0
    assert row.pop("rss") > 10_000_000
    counted = {"requests": 2, "in_flight": 1, "connections": 1, "version": ""}
    assert row == {"worker": 1, "generation": 1, "pid": pid, "phase": "ready", **counted}
    held.release()


def test_it_tells_of_a_reload_in_place(service: Service) -> None:
    service.start()
    reload(service)

    shown = status(service)

    assert shown["generation"] == 2
    assert shown["reload"].pop("at") > 1e9
    assert shown["reload"] == {"ok": True, "text": "gen 2 is ready"}


def test_a_supervisor_shows_its_workers_and_those_that_drain(service: Service) -> None:
    pid = service.start("--workers=2", "--probation=0.1s", "--linger=60s", "--drain-timeout=60s")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    wait_until(lambda: status(service)["status"] == "gen 1: 2 workers ready, 1 in flight")
    assert reload(service)[0] == 0

    def one_drains() -> dict[str, Any] | None:
        """Return what is shown when the worker that had nothing to do has ended."""
        now = status(service)
        return now if sum(row["phase"] == "draining" for row in now["workers"]) == 1 else None

    shown = wait_until(one_drains)

    assert shown["pid"] == pid
    assert shown["generation"] == 2
    assert shown["reload"]["text"] == "gen 2 is ready"
    assert [row["phase"] for row in shown["workers"]].count("ready") == 2
    (draining,) = [row for row in shown["workers"] if row["phase"] == "draining"]
    assert (draining["requests"], draining["in_flight"], draining["connections"]) == (1, 1, 1)
    assert {row["pid"] for row in shown["workers"]} == set(workers(pid))
    held.release()
    wait_until(lambda: service.manager.said("STATUS")[-1] == "gen 2: 2 workers ready, 0 in flight")


def test_it_tells_why_the_last_reload_failed(service: Service) -> None:
    service.start("--workers=1")
    break_app(service, "x = (")
    reload(service)

    shown = status(service)

    assert shown["reload"]["ok"] is False
    assert shown["reload"]["text"].startswith("reload failed: app cannot be imported: SyntaxError")


def test_the_text_is_a_table(service: Service) -> None:
    pid = service.start("--workers=2")
    reload(service)

    wait_until(lambda: "draining" not in ask(service).stdout)  # the old ones have ended

    lines = ask(service).stdout.splitlines()

    assert lines[0] == "active: gen 2: 2 workers ready, 0 in flight"
    assert lines[1] == f"main pid {pid}"
    assert lines[2].startswith("last reload 2")
    assert lines[3] == f"holds web={service.listener.address}"
    assert lines[4].startswith("worker  gen")
    assert [line.split()[1:4:2] for line in lines[5:7]] == [["2", "ready"], ["2", "ready"]]


def test_a_control_socket_can_be_named(service: Service) -> None:
    service.start()

    named = ask(service, f"--control={service.directory}/sockact.sock", RUNTIME_DIRECTORY="", MAINPID="")

    assert named.stdout.startswith("active: gen 1")


@pytest.mark.parametrize("line", [b"status\n", b"[" * 4095 + b"\n", b"\xff\n", b"[]\n"])
def test_who_speaks_otherwise_is_told_what_is_expected(service: Service, line: bytes) -> None:
    service.start()
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(LIMIT)
        control.connect(f"{service.directory}/sockact.sock")
        control.sendall(line)
        answer = json.loads(control.makefile("rb").readline())

    assert answer["ok"] is False
    assert "expected" in answer["text"]
    assert status(service)["phase"] == "active"
    assert "Traceback" not in service.manager.stderr()


def test_without_a_service_it_says_so(service: Service) -> None:
    gone = ask(service)
    unnamed = ask(service, "--json", RUNTIME_DIRECTORY="", MAINPID="")

    assert gone.returncode == 69
    assert "no service at the control socket" in gone.stderr
    assert unnamed.returncode == 64
    assert "--json: expected the UNIT to show" in unnamed.stderr


@pytest.mark.parametrize(
    ("shown", "code", "text"),
    [
        ("LoadState=not-found\nMainPID=0\nRuntimeDirectory=", 64, "unit app.service is not-found"),
        ("LoadState=loaded\nMainPID=0\nRuntimeDirectory=app", 69, "has no main process"),
    ],
)
def test_a_unit_that_does_not_run_is_named(service: Service, shown: str, code: int, text: str) -> None:
    systemctl = service.directory / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nprintf '%s\\n' '{shown}'\n")
    systemctl.chmod(0o755)

    done = ask(service, "app.service", PATH=f"{service.directory}:{os.environ['PATH']}")

    assert done.returncode == code
    assert text in done.stderr


def test_what_systemctl_complains_of_is_passed_on(service: Service) -> None:
    systemctl = service.directory / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'System has not been booted with systemd.' >&2\nexit 1\n")
    systemctl.chmod(0o755)

    done = ask(service, "app.service", PATH=f"{service.directory}:{os.environ['PATH']}")

    assert done.returncode == 69
    text = (
        "sockact: systemctl does not tell where app.service is: System has not been booted with systemd.\n"
    )
    assert done.stderr == text


def test_a_reload_does_not_stumble_over_a_main_pid_that_is_none(service: Service) -> None:
    service.start()

    assert ask(service, MAINPID="none").returncode == 0


def test_a_worker_more_and_a_worker_less(service: Service) -> None:
    pid = service.start("--workers=1")

    service.manager.signal(signal.SIGTTIN)
    wait_until(lambda: status(service)["status"] == "gen 1: 2 workers ready, 0 in flight")
    service.manager.signal(signal.SIGTTOU)
    wait_until(lambda: status(service)["status"] == "gen 1: 1 worker ready, 0 in flight")

    wait_until(lambda: len(workers(pid)) == 1)
    assert Path(f"/proc/{pid}").exists()


SYSTEMCTL = r"""#!/bin/sh
show() { printf 'Id=%s\nLoadState=loaded\nMainPID=%s\nRuntimeDirectory=%s\n\n' "$@"; }
case "$*" in
  *--user*) exit 1 ;;
  list-units*) printf '%s loaded active running A service\n' one.service other.service ;;
  show*" one.service other.service") show one.service "$ONE" "$DIR" other.service "$OTHER" x ;;
  show*" other.service") show other.service "$OTHER" x ;;
esac
"""


@pytest.fixture
def systemd(service: Service) -> dict[str, str]:
    """Return variables with which systemctl knows this service, and one that is not sockact's."""
    systemctl = service.directory / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    pid = service.start()
    path = f"{service.directory}:{os.environ['PATH']}"
    return {"PATH": path, "ONE": f"{pid}", "OTHER": f"{os.getpid()}", "DIR": str(service.directory)}


def test_without_a_unit_all_services_are_listed(service: Service, systemd: dict[str, str]) -> None:
    done = ask(service, RUNTIME_DIRECTORY="", MAINPID="", **systemd)

    assert done.returncode == 0, done.stderr
    lines = [line.split(None, 2) for line in done.stdout.splitlines()]
    assert ["one.service", systemd["ONE"], "active: gen 1: ready, 0 requests in flight"] in lines
    assert "other.service" not in done.stdout


def test_services_that_systemd_does_not_run_are_listed_too(service: Service) -> None:
    pid = service.start("--workers=1", RUNTIME_DIRECTORY=str(service.directory))

    done = ask(service, RUNTIME_DIRECTORY="", MAINPID="")

    lines = [line.split(None, 2) for line in done.stdout.splitlines()]
    assert ["-", f"{pid}", "active: gen 1: 1 worker ready, 0 in flight"] in lines, done


@pytest.mark.parametrize("verb", ["status", "reload"])
def test_a_unit_that_is_not_ours_is_told_apart(
    service: Service, systemd: dict[str, str], verb: str
) -> None:
    done = ask(service, "other", verb=verb, **systemd)

    assert done.returncode == 69
    assert "other.service is no service of sockact that this user can see: its main process" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_screen_needs_a_terminal(service: Service) -> None:
    service.start()

    done = ask(service, "--watch")

    assert (done.returncode, done.stdout) == (64, "")
    assert "--watch: expected a terminal" in done.stderr


def test_a_screen_is_drawn_anew_until_ctrl_c(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    named = {"MAINPID": f"{pid}", "RUNTIME_DIRECTORY": str(service.directory)}
    with on_terminal(service.directory, "status", "--watch", **named) as terminal:
        terminal.wait_for("gen 1: 1 worker ready, 0 in flight")
        kept = service.client()
        kept.get()
        assert reload(service)[0] == 0
        terminal.wait_for("  gen 2 is ready")
        terminal.wait_for("connections handed over: 1")
        kept.get()
        terminal.wait_for("since the start 2 requests, 1 reloads, 0 refused")
        assert "Traceback" not in terminal.shown
        service.manager.signal(signal.SIGTERM)
        terminal.wait_for("no answer now: ")

        terminal.type("\x03")

        assert terminal.wait_exit() == 0
    assert terminal.shown.endswith("\x1b[?1049l")  # the screen of before is there again
