"""The descriptor store, by sd_notify(3)."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from sockact.activate.store import DescriptorStore
from sockact.protocols.notify import Notification
from sockact.sockets.fds import Kind


@pytest.fixture
def store() -> Iterator[DescriptorStore]:
    store = DescriptorStore(most=3)
    yield store
    store.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    yield pair
    for each in pair:
        each.close()


def said(*fds: int, **assignments: str) -> Notification:
    """Return a notification with copies of descriptors, as they come from another process."""
    return Notification(1, {"FDSTORE": "1", **assignments}, tuple(os.dup(fd) for fd in fds))


def names(store: DescriptorStore) -> list[str]:
    return [each.name for each in store.listeners]


def memory() -> int:
    return os.memfd_create("state")


def test_the_newest_comes_first(store: DescriptorStore) -> None:
    for name in ("one", "two"):
        fd = memory()
        assert store.hear(said(fd, FDNAME=name)).startswith(f"stores 1 as {name}, ")
        os.close(fd)

    assert names(store) == ["two", "one"]
    assert {each.kind for each in store.listeners} == {Kind.OTHER}


@pytest.mark.parametrize("name", ["", "with:colon", "ü", "x" * 256, "line\nfeed"])
def test_a_name_that_cannot_be_is_replaced(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket], name: str
) -> None:
    store.hear(said(pair[0].fileno(), FDNAME=name))

    assert names(store) == ["stored"]


def test_a_name_is_removed_with_all_that_is_stored_under_it(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket]
) -> None:
    store.hear(said(*(each.fileno() for each in pair), FDNAME="pair"))
    fd = memory()
    store.hear(said(fd, FDNAME="other"))
    os.close(fd)

    assert store.hear(Notification(1, {"FDSTOREREMOVE": "1", "FDNAME": "pair"})) == (
        "removes 2 stored as pair, 1 remain"
    )
    assert names(store) == ["other"]
    assert store.hear(Notification(1, {"FDSTOREREMOVE": "1"})) == ""


def test_a_socket_is_stored_once_and_a_file_as_often_as_it_was_opened(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket]
) -> None:
    store.hear(said(pair[0].fileno(), pair[0].fileno()))
    fd = memory()
    store.hear(said(fd, fd))
    os.close(fd)

    assert len(store.listeners) == 3


def test_more_than_fit_are_closed(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket]
) -> None:
    files = [memory() for _ in range(3)]
    store.hear(said(*files))
    for fd in files:
        os.close(fd)

    text = store.hear(said(pair[0].fileno(), FDNAME="late"))

    assert text == "stores 0 as late, 3 in all; 1 more did not fit"
    pair[0].close()
    assert pair[1].recv(1) == b""  # no copy of the other end is left


@pytest.mark.parametrize(("polled", "left"), [("1", []), ("0", ["pair"])])
def test_a_socket_whose_peer_has_gone_is_dropped_unless_it_is_not_polled(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket], polled: str, left: list[str]
) -> None:
    store.hear(said(pair[0].fileno(), FDNAME="pair", FDPOLL=polled))
    assert store.drop_hung_up() == 0

    pair[1].close()

    assert bool(select.select([store], [], [], 0)[0]) == (not left)
    store.drop_hung_up()
    assert names(store) == left
    assert not select.select([store], [], [], 0)[0]


def test_what_is_closed_is_not_polled_any_more_although_others_have_a_copy(
    store: DescriptorStore, pair: tuple[socket.socket, socket.socket]
) -> None:
    store.hear(said(pair[0].fileno(), FDNAME="pair"))
    store.hear(Notification(1, {"FDSTOREREMOVE": "1", "FDNAME": "pair"}))

    pair[1].close()

    assert not select.select([store], [], [], 0)[0]
