"""The connections that a process without a supervisor keeps for the next one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from sockact.process.descriptors import Sockets
from sockact.worker.manager import KeptConnections


class RecordingStore:
    """A store that takes what it gets if it is not `full`, for a process that has a successor."""

    def __init__(self) -> None:
        self.content: list[int] = []
        self.full = False

    async def room(self, *, followed: bool) -> int:
        return 10 if followed else 0

    def put(self, descriptors: Sequence[int], *, must: bool = True) -> list[int]:
        if self.full and not must:
            return list(descriptors)
        self.content += descriptors
        return []

    def clear(self) -> None:
        self.content = []

    def forget(self, names: Sequence[str]) -> None:
        assert not list(names)


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


@pytest.fixture
def kept(store: RecordingStore) -> Iterator[KeptConnections]:
    sockets = Sockets()
    yield KeptConnections(sockets, cast("Any", store))
    sockets.close()


@pytest.fixture
def connection() -> Iterator[int]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours.fileno()


def test_what_found_no_room_in_the_queue_is_stored_at_the_end(
    kept: KeptConnections, store: RecordingStore, connection: int
) -> None:
    asyncio.run(kept.room(followed=True))
    store.full = True
    assert kept.keep([connection])
    assert store.content == []

    kept.put()

    assert len(store.content) == 1


def test_what_was_taken_back_is_not_stored_at_the_end(
    kept: KeptConnections, store: RecordingStore, connection: int
) -> None:
    """A stop that overtakes a reload serves it: its descriptor may be another one's by then."""
    assert kept.keep([connection])
    (taken,) = kept.take()
    taken.close()

    kept.put()

    assert store.content == []
