"""Files in whose place somebody has put something else: a start or a reload says so, and nothing waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sockact.errors import SettingsError
from tests.support.commands import reload
from tests.support.gate import install
from tests.support.manager import Manager
from tests.support.service import Service

ROLES = ["--workers=0", "--workers=1"]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    path.write_bytes(b"A=1\n" * 300_000)


def table_of_another_kind(path: Path) -> None:
    path.write_text("tool = 1 # tool.sockact\n")


def nested(path: Path) -> None:
    path.write_text("[tool.sockact]\nworkers = " + "[" * 100_000)


HINDRANCES = [
    pytest.param("app.env", fifo, "no regular file", id="env fifo"),
    pytest.param("app.env", endless, "no regular file", id="env endless"),
    pytest.param("app.env", large, "larger than 1,048,576 bytes", id="env large"),
    pytest.param("pyproject.toml", fifo, "no regular file", id="project fifo"),
    pytest.param("pyproject.toml", table_of_another_kind, "expected a table", id="project of a number"),
    pytest.param("pyproject.toml", nested, "nested too deeply", id="project nested"),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("name", "make", "reason"), HINDRANCES)
def test_a_start_says_what_is_in_the_way(
    service: Service, manager: Manager, role: str, name: str, make: Callable[[Path], None], reason: str
) -> None:
    install(service.directory)
    (service.directory / "app.env").write_text("A=1\n")
    (service.directory / name).unlink(missing_ok=True)
    make(service.directory / name)

    manager.sockact("app:app", role, "--env-file=app.env", listeners=[service.listener])

    assert manager.wait_exit() == SettingsError.exit_status
    said = manager.said("STATUS")[-1]
    assert name in said
    assert reason in said
    assert "Traceback" not in manager.stderr()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("name", "make", "reason"), HINDRANCES)
def test_a_reload_is_refused_for_it_and_the_old_code_goes_on(
    service: Service, role: str, name: str, make: Callable[[Path], None], reason: str
) -> None:
    (service.directory / "app.env").write_text("A=1\n")
    service.start(role, "--env-file=app.env", "--probation=0.1s")
    (service.directory / name).unlink(missing_ok=True)
    make(service.directory / name)

    status, text = reload(service)

    assert status == 1
    assert name in text
    assert reason in text
    assert service.client().get().status == 200


@pytest.mark.parametrize("role", ROLES)
def test_a_fifo_in_place_of_the_pid_file_keeps_neither_a_start_nor_a_stop_waiting(
    service: Service, manager: Manager, role: str
) -> None:
    pid_file = service.directory / "pid"
    pid = service.start(role, "--pid-file=pid")
    assert pid_file.read_text() == f"{pid}\n"
    pid_file.unlink()
    os.mkfifo(pid_file)

    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    assert pid_file.is_fifo()

    manager.sockact("app:app", role, "--pid-file=pid", listeners=[service.listener])
    assert manager.wait_exit() == SettingsError.exit_status
    assert (
        "pid_file='pid' cannot be written: something is there that is no regular file"
        in manager.said("STATUS")[-1]
    )
    assert pid_file.is_fifo()


@pytest.mark.parametrize("role", ROLES)
def test_a_reload_does_not_stumble_over_its_own_pid_file(service: Service, role: str) -> None:
    pid = service.start(role, "--pid-file=pid", "--probation=0.1s")

    assert reload(service)[0] == 0

    assert (service.directory / "pid").read_text() == f"{pid}\n"
    assert [path.name for path in service.directory.glob("pid*")] == ["pid"]
