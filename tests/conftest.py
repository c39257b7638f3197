"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sockact.fds import Listener
from tests.manager import listening


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Give a listening socket that outlives every process of the test, as a socket unit's does."""
    listener = listening()
    yield listener
    listener.close()
