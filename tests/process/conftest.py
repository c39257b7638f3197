"""Real processes, sockets and signals, with a service manager of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manager import Manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Give a manager whose program starts in an empty directory."""
    monkeypatch.chdir(tmp_path)
    manager = Manager(tmp_path / "stderr.log")
    yield manager
    manager.close()
