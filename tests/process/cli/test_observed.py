"""The view of a service from outside: its versions, its numbers, its log, its settings."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import ask, reload, status
from tests.support.gate import install
from tests.support.http_client import Client, get
from tests.support.manager import CHECKOUT, Manager, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import QUICK, Service, break_app

ROLES = pytest.mark.parametrize("role", [("--workers=0",), QUICK], ids=["alone", "supervised"])


@ROLES
def test_a_service_tells_which_version_of_the_code_it_is(service: Service, role: tuple[str, ...]) -> None:
    pid = service.start(*role, "--version-header=X-Version", SOCKACT_VERSION="1.2 (a1b2c3)")

    shown = status(service)

    assert [row["version"] for row in shown["workers"]] == ["1.2 (a1b2c3)"] * len(shown["workers"])
    assert shown["status"].startswith("gen 1 (1.2 (a1b2c3)): ")
    assert service.manager.said("STATUS")[-1].startswith("gen 1 (1.2 (a1b2c3)): ")
    assert ask(service).stdout.splitlines()[-1].endswith("  1.2 (a1b2c3)")
    assert service.client().get().headers["x-version"] == "1.2 (a1b2c3)"
    assert shown["pid"] == pid
    assert min(row["uptime"] for row in shown["workers"]) > 0


def test_each_generation_of_a_program_has_the_version_of_its_code(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    main = "import sockact, app\nsockact.serve(app.app, workers=1, probation=0.1, version=app.VERSION)\n"
    (tmp_path / "main.py").write_text(main)
    path = {"PYTHONPATH": str(CHECKOUT), "RUNTIME_DIRECTORY": str(tmp_path)}
    manager.start([sys.executable, "main.py"], [listener], **path)
    assert manager.wait_ready().assignments["STATUS"].startswith("gen 1 (1): ")
    install(tmp_path, "2")

    manager.signal(signal.SIGHUP)

    manager.wait_for("RELOADING", "1")
    assert manager.wait_ready().assignments["STATUS"].startswith("gen 2 (2): ")
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        assert "x-version" not in client.get().headers


@pytest.mark.parametrize("option", ["--version=a\nb", "--version-header=a: b"])
def test_a_version_cannot_inject_a_header(manager: Manager, listener: Listener, option: str) -> None:
    manager.sockact("app:app", option, listeners=[listener])

    assert manager.wait_exit() == 78


SAMPLE = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\.)*",?)*)\})? (\d+(?:\.\d+)?)')


def samples(text: str) -> dict[str, float]:
    """Read the text format of Prometheus: each line is a comment or a sample."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[f"{match[1]}{{{match[2] or ''}}}"] = float(match[3])
    return found


@ROLES
def test_the_numbers_of_a_service_can_be_had_for_prometheus(
    service: Service, role: tuple[str, ...]
) -> None:
    service.start(*role, *(("--drain-timeout=60s", "--linger=60s")), SOCKACT_VERSION='a "quoted" \\ one')
    client = service.client()
    client.get()
    client.ask("/hold")
    held = service.gate.wait()
    wait_until(lambda: ask_numbers(service)["sockact_requests_in_flight{}"] == 1)

    found = ask_numbers(service)

    version = r'version="a \"quoted\" \\ one"'
    assert found[f'sockact_info{{phase="active",generation="1",{version}}}'] == 1
    assert found["sockact_requests_total{}"] == 2
    assert found['sockact_connections{state="active"}'] == 1
    assert found['sockact_workers{phase="ready"}'] == len(status(service)["workers"])
    assert found['sockact_worker_resident_bytes{worker="1",generation="1"}'] > 10_000_000
    assert found['sockact_worker_uptime_seconds{worker="1",generation="1"}'] > 0
    assert found['sockact_reloads_total{result="ok"}'] == 0
    held.release()
    assert client.read().status == 200


def ask_numbers(service: Service) -> dict[str, float]:
    return samples(ask(service, "--prometheus").stdout)


def test_requests_and_reloads_are_counted_over_the_lives_of_workers(service: Service) -> None:
    pid = service.start(*QUICK)
    for _ in range(2):
        before = workers(pid)
        for _ in range(3):
            with service.client() as client:
                client.get()
        assert reload(service)[0] == 0
        for worker in before:
            wait_gone(worker)
    break_app(service, "x = (")
    assert reload(service)[0] == 1

    wait_until(lambda: ask_numbers(service)["sockact_requests_total{}"] == 6)

    found = ask_numbers(service)
    assert found['sockact_reloads_total{result="ok"}'] == 2
    assert found['sockact_reloads_total{result="failed"}'] == 1


def test_log_lines_name_generation_worker_and_phase(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    reload(service)
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0

    log = service.manager.stderr()

    for generation in (1, 2):
        pattern = (
            rf"pid={pid} sockact\.supervisor INFO: gen={generation} worker={generation} pid=\d+ starts"
        )
        assert re.search(pattern, log)
        assert re.search(rf"sockact\.\w+ INFO: gen={generation} pid=\d+ serves web=", log)
    phases = re.findall(rf"pid={pid} sockact\.lifecycle INFO: phase=(\w+): ", log)
    assert phases == ["reloading", "deactivating", "inactive"]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_setting_in_pyproject_toml_holds_unless_a_variable_or_an_option_says_otherwise(
    service: Service, workers: str
) -> None:
    pyproject = service.directory / "pyproject.toml"
    pyproject.write_text('[tool.sockact]\nversion = "project"\nversion_header = "X-Version"\nthreads = 3\n')
    options = (f"--workers={workers}", "--probation=0.1s")
    service.start(*options)
    assert service.client().get().headers["x-version"] == "project"
    pyproject.write_text(pyproject.read_text().replace('"project"', '"a later one"'))

    assert reload(service)[0] == 0

    wait_until(lambda: get(service.listener).headers["x-version"] == "a later one")


@pytest.mark.parametrize(("given", "expected"), [({}, "variable"), ({"version": "option"}, "option")])
def test_options_beat_variables_which_beat_pyproject_toml(
    tmp_path: Path, given: dict[str, str], expected: str
) -> None:
    from sockact.config import pyproject

    (tmp_path / "pyproject.toml").write_text('[tool.sockact]\nversion = "project"\nworkers = 7\n')
    environ = {"SOCKACT_CHDIR": str(tmp_path), "SOCKACT_VERSION": "variable"}

    chosen = pyproject.resolve(given, environ)

    assert (chosen.version, chosen.workers) == (expected, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.sockact]\nwrokers = 2", "unknown setting 'wrokers': did you mean 'workers'?"),
        (
            "[tool.sockact]\nthreads = 2.5",
            "pyproject.toml: threads=2.5: expected a whole number, not negative",
        ),
        ("[tool.sockact]\ndrain_timeout = 'x'", "pyproject.toml: drain_timeout='x': expected a time span"),
        ("[tool]\nsockact = 3\n[tool.sockactor]", "pyproject.toml: expected a table [tool.sockact]"),
        ("[tool.sockact", "pyproject.toml: Expected ']'"),
    ],
)
def test_a_pyproject_toml_that_makes_no_sense_is_an_error_of_the_settings(
    manager: Manager, listener: Listener, text: str, message: str
) -> None:
    Path("pyproject.toml").write_text(text)
    manager.sockact("app:app", listeners=[listener])

    assert manager.wait_exit() == 78
    assert message in manager.said("STATUS")[-1]
