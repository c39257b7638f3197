"""`sockact prove` on real services: its own, and one of gunicorn."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import configure, install, main_pid, stop_each

SOCKACT = "/opt/app/venv/bin/sockact"
UNITS = "/etc/systemd/system"
TIMEOUT = 120

APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2"), ("X-Pid", str(os.getpid()))])
    return [b"hi"]
"""
GUNICORN = """
[Service]
Type=notify
WorkingDirectory=/opt/foreign
ExecStart=/usr/bin/python3 -m gunicorn --bind 127.0.0.1:8100 --workers 2 plain:app
ExecReload=kill -HUP $MAINPID
KillMode=mixed
Environment=PYTHONPATH=/opt/foreign
"""


def prove(machine: Machine, *words: str, status: int | None = 0) -> dict[str, Any]:
    """Prove a unit, and return the report; `status` is the one that is expected, None for any."""
    done = machine.run(SOCKACT, "prove", *words, "--json", "--around=1.5s", check=False, timeout=TIMEOUT)
    assert status in (None, done.returncode), done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture
def served(app: Machine) -> Machine:
    """Give a machine whose socket unit is started, and whose service is not."""
    configure(app, "--probation=0.1s")
    install(app, 1)
    app.run("systemctl", "start", "app.socket")
    return app


@pytest.mark.newest
def test_the_shipped_units_lose_nothing_in_a_reload_a_restart_and_a_stop(served: Machine) -> None:
    page = "/tmp/prove %n ü.html"
    report = prove(served, "app", "--restart", "--stop", f"--html={page}")

    assert (report["lost"], report["unit"]) == (0, "app.service")
    assert [action["action"] for action in report["actions"]] == ["reload", "restart", "stop and start"]
    assert [phase["lost"] for phase in report["phases"]] == [0] * 7
    assert len(report["seen"]) >= 4
    assert report["requests"] > 400
    html = served.read(page)
    assert "requests lost</title>" in html
    assert len(html) < 500_000
    assert served.show("app.service", "ActiveState")["ActiveState"] == "active"


def test_the_sentences_tell_the_same(served: Machine) -> None:
    done = served.run(SOCKACT, "prove", "app.service", "--around=1s", timeout=TIMEOUT)

    first, second, third = done.stdout.splitlines()
    assert re.fullmatch(r"app\.service, http://127\.0\.0\.1:8000/: 0 of [\d,]+ requests lost", first)
    assert re.fullmatch(r"0 connections closed by the server, longest stall [\d.]+ m?s", second)
    assert re.fullmatch(r"reload: 0 of [\d,]+ lost, longest stall [\d.]+ m?s, done after [\d.]+ m?s", third)


def test_a_reload_that_is_refused_is_told_and_loses_nothing(served: Machine) -> None:
    served.run("systemctl", "start", "app.service")
    pid = main_pid(served)
    install(served, 2, "raise RuntimeError('not today')")
    report = prove(served, "app", status=69)

    assert report["lost"] == 0
    (action,) = report["actions"]
    assert action["status"] == 1
    assert "Job for app.service failed" in action["output"]
    assert main_pid(served) == pid


def test_what_was_lost_is_explained_by_a_rule_of_check(app: Machine) -> None:
    install(app, 1)
    cutting = "KillSignal=SIGQUIT\nKillMode=mixed\nExecStop=\nFileDescriptorStoreMax=0"
    configure(app, "--workers=0", "--no-handover", service=cutting)
    app.run("systemctl", "start", "app.socket", "app.service")

    report = prove(app, "app", "--restart", "--load=persistent:8@20", status=None)

    assert report["total"]["reconnects"] > 0
    assert any(reason.startswith("check: kill-signal-cuts: ") for reason in report["reasons"])


def packed(*modules: str) -> str:
    """Return packages of this environment as text."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for module in modules:
            spec = find_spec(module)
            assert spec is not None
            assert spec.origin is not None
            archive.add(Path(spec.origin).parent, module)
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def gunicorn(app: Machine) -> Iterator[Machine]:
    """Give a machine on which gunicorn serves a port that it has bound itself."""
    app.write("/opt/foreign/plain.py", APP)
    unpack = "base64 -d | tar xz -C /opt/foreign"
    app.run("sh", "-c", unpack, input=packed("gunicorn", "packaging"))
    app.write(f"{UNITS}/foreign.service", GUNICORN)
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "start", "foreign.service")
    yield app
    stop_each(app, "foreign.service", "foreign.socket")
    app.run("rm", "-rf", "/opt/foreign", f"{UNITS}/foreign.service", f"{UNITS}/foreign.socket")
    app.run("systemctl", "daemon-reload")


def test_the_restart_of_a_server_that_binds_its_port_itself_refuses_clients(gunicorn: Machine) -> None:
    report = prove(gunicorn, "foreign", "--restart", status=1)

    assert report["url"] == "http://127.0.0.1:8100/"
    lost = {phase["phase"]: phase["lost"] for phase in report["phases"]}
    assert lost["restart"] + lost["after"] > 0
    assert lost["before"] == 0
    assert report["total"]["outcomes"]["refused"] > 0
    assert any("nobody listens while no process runs" in reason for reason in report["reasons"])


def test_the_restart_of_a_server_with_a_socket_unit_makes_clients_wait(gunicorn: Machine) -> None:
    gunicorn.run("systemctl", "stop", "foreign.service")
    gunicorn.write(f"{UNITS}/foreign.socket", "[Socket]\nListenStream=127.0.0.1:8100\n")
    slow = f"import time; time.sleep(1.5)\n{APP}"
    gunicorn.write("/opt/foreign/plain.py", slow)
    gunicorn.run("systemctl", "daemon-reload")
    gunicorn.run("systemctl", "start", "foreign.socket", "foreign.service")

    report = prove(gunicorn, "foreign", "--restart", "--load=one-shot:4@20", status=0)

    assert report["total"]["outcomes"]["refused"] == 0
    assert report["total"]["stall"] > 1
    assert any("of stall" in reason for reason in report["reasons"])


@pytest.mark.parametrize("unit", ["nosuch", "app.socket", "sshd@.service", ""])
def test_a_unit_that_is_no_service_is_said_so(served: Machine, unit: str) -> None:
    refused = served.run(SOCKACT, "prove", unit, check=False)

    assert refused.returncode == 64
    assert len(refused.stderr.splitlines()) == 1


def test_a_service_at_whose_address_nobody_answers_is_not_reloaded(app: Machine) -> None:
    refused = app.run(SOCKACT, "prove", "app", "--limit=2s", check=False)

    assert refused.returncode == 69
    assert "http://127.0.0.1:8000/: connect: ECONNREFUSED" in refused.stderr


def test_a_path_that_is_not_found_is_told_with_a_hint(served: Machine) -> None:
    refused = served.run(SOCKACT, "prove", "app", "--path=/nosuch", check=False)

    assert refused.returncode == 69
    assert "/nosuch: status 404" in refused.stderr
    assert "try --path" in refused.stderr
