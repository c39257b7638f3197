"""slowhttptest against a WSGI app with two threads: another client is answered meanwhile."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.conformance.programs import version_of
from tests.conformance.serving import serving
from tests.support.http_client import get
from tests.support.manager import LIMIT

CONNECTIONS = 200
SECONDS = 3

PATIENCE = 2
"""Seconds after which slowhttptest, and this test, call a service unavailable."""

ATTACKS = {
    "slow headers": ("-H", "/", "-i", "1"),
    "slow bodies": ("-B", "/length", "-i", "1"),
    "slow readers": ("-X", "/long", "-n", "1", "-w", "1", "-y", "64", "-z", "1"),
}
"""Their kind, the path, and the other options."""


def attack(program: str, listener: Listener, kind: str, folder: Path) -> subprocess.Popen[bytes]:
    """Begin; once it has ended, `figures` has what it has seen."""
    option, path, *others = ATTACKS[kind]
    often = ("-c", f"{CONNECTIONS}", "-r", f"{CONNECTIONS}", "-l", f"{SECONDS}", "-p", f"{PATIENCE}")
    told = ("-g", "-o", str(folder / "figures"))
    command = [program, option, *often, *others, *told, "-u", f"http://{listener.address}{path}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def figures(folder: Path, name: str) -> list[int]:
    """Return a figure of slowhttptest's, for each second."""
    with (folder / "figures.csv").open() as file:
        return [int(row[name]) for row in csv.DictReader(file)]


def answers(listener: Listener, until: Callable[[], bool]) -> Iterator[float]:
    """Ask again and again, and give the seconds that each answer took."""
    while not until():
        begin = time.monotonic()
        assert get(listener).text == "hello\n"
        yield time.monotonic() - begin
        time.sleep(0.01)  # a client among others, no load of its own


@pytest.mark.parametrize("kind", ATTACKS)
def test_another_client_is_answered_meanwhile(
    program: Callable[[str], str],
    listener: Listener,
    tmp_path: Path,
    kind: str,
    passed: Callable[..., None],
) -> None:
    name = program("slowhttptest")
    served = serving(listener, tmp_path / "stderr.log", "client_wsgi", "--threads=2")
    with served, attack(name, listener, kind, tmp_path) as attacker:
        took = list(answers(listener, lambda: attacker.poll() is not None))

    assert max(figures(tmp_path, "Connected")) == CONNECTIONS
    assert 0 not in figures(tmp_path, "Service Available")
    assert len(took) > 20
    assert max(took) < PATIENCE
    passed(name, version_of(name, "-h"), kind, CONNECTIONS)


def test_threads_that_slow_clients_hold_are_seen(
    program: Callable[[str], str], listener: Listener, tmp_path: Path
) -> None:
    """So it would be if a body had to be shorter to be read before a thread is taken."""
    name = program("slowhttptest")
    served = serving(listener, tmp_path / "stderr.log", "client_wsgi", "--threads=2", "--wsgi-buffer=1K")
    with served, attack(name, listener, "slow bodies", tmp_path) as attacker:
        attacker.wait(LIMIT)

    assert 0 in figures(tmp_path, "Service Available")
