"""Connections that wait in a supervisor while no worker serves: systemd's store has them, too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sockact.handover.exchange import Exchange


class RecordingStore:
    """A store with room for `capacity`; `taken` go into the manager's queue at a time."""

    def __init__(self, capacity: int = 100, taken: int = 100) -> None:
        self.content: list[int] = []
        self.puts = 0
        self.capacity = capacity
        self._taken = taken

    def put(self, descriptors: Sequence[int], *, must: bool = True) -> list[int]:
        assert not must, "a supervisor does not wait for systemd while it serves"
        self.puts += len(descriptors)
        room = self._taken - len(self.content)
        self.content += descriptors[:room]
        return list(descriptors[room:])

    def clear(self) -> None:
        self.content = []


@pytest.fixture
def connections() -> Iterator[list[int]]:
    pairs = [socket.socketpair() for _ in range(3)]
    yield [ours.detach() for ours, _ in pairs]
    for _, theirs in pairs:
        theirs.close()


def exchange(store: Any, unassigned: Sequence[int] = ()) -> Exchange:
    return Exchange(list, unassigned, store=store)


def test_what_waits_is_stored_once(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)

    for fd in connections:
        made.unassigned.append(fd)
        made.pass_on()

    assert (store.content, store.puts) == (connections, 3)
    made.refuse()


def test_what_has_come_from_the_store_is_in_it_already(connections: list[int]) -> None:
    store = RecordingStore()
    store.content = connections[:]
    made = exchange(store, connections)

    made.pass_on()

    assert store.puts == 0
    made.refuse()


def test_what_finds_no_room_is_tried_again(connections: list[int]) -> None:
    store = RecordingStore(taken=1)
    made = exchange(store, ())
    made.unassigned += connections
    made.pass_on()

    made.pass_on()

    assert (len(store.content), store.puts) == (1, 3 + 2)
    made.refuse()


def test_no_more_is_stored_than_there_is_room_for(connections: list[int]) -> None:
    store = RecordingStore(capacity=2)
    made = exchange(store, ())
    made.unassigned += connections

    made.pass_on()

    assert store.content == connections[:2]
    made.refuse()


def test_what_is_closed_is_stored_no_more(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)
    made.unassigned += connections
    made.pass_on()

    made.refuse()

    assert store.content == []
    for fd in connections:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_what_is_left_to_the_next_supervisor_stays_stored(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)
    made.unassigned += connections
    made.pass_on()

    made.store(lambda waiting: store.put(waiting, must=False))
    made.refuse()

    assert store.content == connections
