"""Sockets of others in any number: root's commands take as long as for one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.cli import status
from sockact.errors import UnavailableError
from sockact.protocols import control, control_address
from tests.support.commands import run
from tests.support.service import Service

LIMIT = 0.8
"""Seconds that the commands are given in all."""

MANY = 100


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the seconds that each connection was given."""
    given: list[float] = []
    connect = control.connect

    def noted(where: str, seconds: float | None) -> socket.socket:
        assert seconds is not None
        given.append(seconds)
        return connect(where, seconds)

    monkeypatch.setattr(control, "connect", noted)
    return given


@pytest.fixture
def full() -> Iterator[Callable[[Path], str]]:
    """Give what makes a control socket that accepts nobody, as its queue is full."""
    with contextlib.ExitStack() as stack:

        def make(folder: Path) -> str:
            folder.mkdir(mode=0o700)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "control"))
            listener.listen(0)
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(folder / "control"))
            return str(folder / "control")

        yield make


def test_a_service_that_has_many_sockets_is_waited_for_as_long_as_one(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    full: Callable[[Path], str],
    patience: list[float],
) -> None:
    for number in range(MANY):
        full(tmp_path / f"sockact-{number + 2}-{number:06x}")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("MAINPID", str(os.getpid()))

    code, out, err = run(capsys, "status", f"--timeout={LIMIT}s")

    assert (code, out, err.count("\n")) == (69, "", 1)
    assert "accepts no connection" in err
    assert len(patience) == control_address.MAX_CANDIDATES
    assert sum(patience) < LIMIT + 0.01 * len(patience)  # each is rounded


def test_the_socket_of_the_main_process_is_found_among_many(
    service: Service, full: Callable[[Path], str]
) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    for number in range(MANY):
        full(service.directory / f"sockact-{2**22 + number}-{number:06x}")

    sock, where = control_address.find("auto", {"RUNTIME_DIRECTORY": str(service.directory)}, pid, 20)

    with sock:
        assert f"/sockact-{pid}-" in where
        assert control.ask(sock, "status", where)["ok"]


def test_processes_that_claim_to_be_services_take_as_long_as_one(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    full: Callable[[Path], str],
    patience: list[float],
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setattr(status, "_services", lambda **_: [])
    with contextlib.ExitStack() as stack:
        claimants = [stack.enter_context(subprocess.Popen(["sleep", "600"])) for _ in range(8)]
        for each in claimants:
            stack.callback(each.kill)
            full(tmp_path / f"sockact-{each.pid}-000000")
        gone = full(tmp_path / f"sockact-{2**22}-000000")

        code, out, _ = run(capsys, "status", f"--timeout={LIMIT}s")

    lines = [line for line in out.splitlines() if str(tmp_path) in line]
    assert code == 0
    assert len(lines) == len(claimants)
    assert gone not in out  # no process of that number lives
    assert sum(patience) < LIMIT + 0.01 * len(patience)


def test_a_socket_that_is_seen_on_two_ways_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: Callable[[Path], str], patience: list[float]
) -> None:
    (tmp_path / "sockact.sock").symlink_to(full(tmp_path / f"sockact-{os.getpid()}-000000"))

    with pytest.raises(UnavailableError, match="accepts no connection"):
        control_address.find("auto", {"RUNTIME_DIRECTORY": str(tmp_path)}, os.getpid(), 0.1)

    assert len(patience) == 1
