"""Connections that wait in a supervisor while no worker serves: systemd's store has them, too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sockact.handover.exchange import Exchange
from tests.support.in_process import RecordingStore


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
    assert not store.waited, "a supervisor does not wait for systemd while it serves"
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
    assert not store.waited
    made.refuse()


def test_no_more_is_stored_than_there_is_room_for(connections: list[int]) -> None:
    store = RecordingStore(capacity=2)
    made = exchange(store, ())
    made.unassigned += connections

    made.pass_on()

    assert store.content == connections[:2]
    assert not store.waited
    made.refuse()


def test_what_is_closed_is_stored_no_more(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)
    made.unassigned += connections
    made.pass_on()

    made.refuse()

    assert store.content == []
    assert not store.waited
    for fd in connections:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_what_is_left_to_the_next_process_stays_stored_and_is_closed_here(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)
    made.unassigned += connections
    made.pass_on()

    made.leave()
    made.refuse()

    assert store.content == connections
    for fd in connections:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_what_the_store_has_no_room_for_is_not_left_to_the_next_process(connections: list[int]) -> None:
    store = RecordingStore(taken=2)
    made = exchange(store)
    made.unassigned += connections

    made.leave()

    assert (store.content, made.unassigned) == (connections[:2], connections[2:])
    assert store.waited
    made.refuse()
    assert store.content == connections[:2]


def test_what_waits_is_stored_when_the_supplies_go_to_the_next_supervisor(connections: list[int]) -> None:
    store = RecordingStore()
    made = exchange(store)
    made.unassigned += connections

    made.let_go()

    assert store.content == connections
    assert store.waited
    for fd in connections:
        os.close(fd)
