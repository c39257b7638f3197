"""The commands that keep a program without systemd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.activated import Activated


@pytest.fixture
def activated(tmp_path: Path) -> Iterator[Activated]:
    """Give a command whose folder has a name that is not simple."""
    folder = tmp_path / "a folder, 100%"
    folder.mkdir()
    activated = Activated(folder)
    yield activated
    activated.close()
