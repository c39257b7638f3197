"""Options and fixtures of all tests."""

from __future__ import annotations

import compileall
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from xdist.scheduler import LoadScopeScheduling

from sockact.sockets.fds import Listener
from tests.support.machine.roots import SUITES, environment, locked
from tests.support.manager import CHECKOUT, Manager, listening


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-machine",
        action="store_true",
        help="fail, rather than skip, tests for which this host lacks root or a program",
    )
    parser.addoption(
        "--install", action="store_true", help="let a test install what it alone needs of Debian's packages"
    )
    parser.addoption(
        "--all-rounds",
        action="store_true",
        help="restart and reload 50 or 100 times in those tests which else make one round in twenty",
    )
    parser.addoption(
        "--all-suites",
        action="store_true",
        help="run all tests on each release: also on the newest systemd what is not marked `newest`",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the package once, not in each process that a test starts: those write no bytecode.

    An app that is replaced within the same second by one of the same size would be taken for the old one.
    """
    if not hasattr(session.config, "workerinput"):
        compileall.compile_dir(CHECKOUT / "sockact", quiet=2)


class ByMachine(LoadScopeScheduling):
    """Lets one process of pytest-xdist run all tests on the machine of one release, which it boots once."""

    def _split_scope(self, nodeid: str) -> str:
        machine = re.search(rf"tests/machine/.*[\[-]({'|'.join(SUITES)})[\]-]", nodeid)
        return machine[1] if machine else nodeid


# Rather than its marks for groups, which xdist 3.8 writes where pytest 9.2 does not read them.
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByMachine:
    return ByMachine(config, log)


@pytest.fixture(scope="session")
def lacking(pytestconfig: pytest.Config) -> Callable[[str], NoReturn]:
    """Give a callable that takes the reason why a test cannot run here."""
    return pytest.fail if pytestconfig.getoption("--require-machine") else pytest.skip


@pytest.fixture(scope="session")
def needs(pytestconfig: pytest.Config, lacking: Callable[[str], NoReturn]) -> Callable[..., None]:
    """Give a callable that takes a program that the test needs, and the step of units/provision for it.

    Without a step, it has the program's name.
    """

    def needs(program: str, step: str = "") -> None:
        step = step or program
        if not shutil.which(program) and pytestconfig.getoption("--install"):
            with locked("packages"):
                provision = [str(CHECKOUT / "units/provision"), step]
                subprocess.run(provision, env=environment(), check=False)
        if not shutil.which(program):
            lacking(f"not installed: {program} (units/provision {step})")

    return needs


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Give a manager whose program starts in an empty directory."""
    monkeypatch.chdir(tmp_path)
    manager = Manager(tmp_path / "stderr.log")
    yield manager
    manager.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Give a listening socket that outlives every process of the test, as a socket unit's does."""
    listener = listening()
    yield listener
    listener.close()
