"""Real processes, sockets and signals, with a service manager of the tests' own."""

from __future__ import annotations

import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.gate import Gate
from tests.support.manager import CHECKOUT, Manager
from tests.support.service import Service

HERE = Path(__file__).parent
CASES = 3
"""So many of a test's cases are run by `./tests/run process`; `./tests/run` runs them all."""


@pytest.hookimpl(tryfirst=True)  # before the selection by marks
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark as slow all but a few cases of each test: most are one process more for one more kind of fault.

    Chosen by a sum over their names: always the same ones, and not all with one value of a parameter.
    """
    cases = defaultdict(list)
    for item in items:
        if item.path.is_relative_to(HERE):
            cases[item.nodeid.partition("[")[0]].append(item)
    for of_one in cases.values():
        for item in sorted(of_one, key=lambda item: zlib.crc32(item.nodeid.encode()))[CASES:]:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Give the gate at which requests of the gate app wait."""
    gate = Gate(tmp_path)
    yield gate
    gate.close()


@pytest.fixture
def service(manager: Manager, listener: Listener, gate: Gate, tmp_path: Path) -> Iterator[Service]:
    """Give the gate app as a service, not yet started."""
    service = Service(manager, listener, gate, tmp_path)
    yield service
    service.close()


@pytest.fixture
def bounded(service: Service) -> Service:
    """Give the app for clients without bounds as a service, not yet started."""
    shutil.copy(CHECKOUT / "tests" / "apps" / "bounds_app.py", service.directory / "app.py")
    return service
