"""What stands against a fork: threads and connections, each named."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from sockact.process import unforkable


def new(opened: Callable[[], contextlib.AbstractContextManager[object]]) -> list[str]:
    """Return what stands against a fork because of one thing more."""
    before = set(unforkable.obstacles(()))
    with opened():
        return [each for each in unforkable.obstacles(()) if each not in before]


@contextlib.contextmanager
def thread() -> Iterator[None]:
    done = threading.Event()
    worker = threading.Thread(target=done.wait, name="metrics", daemon=True)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def test_a_thread_is_named_with_the_function_in_which_it_is() -> None:
    (text,) = new(thread)

    assert text.startswith("thread 'metrics' in ")
    assert ".wait (" in text


def test_a_socket_is_named_with_its_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (text,) = new(partial(socket.create_connection, server.getsockname()))

    assert text.startswith("a socket, 127.0.0.1:")
    assert f" to 127.0.0.1:{port} (" in text


@pytest.mark.parametrize(
    ("family", "kind", "text"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "a socket, without an address ("),
        (socket.AF_UNIX, socket.SOCK_STREAM, "a socket, without an address ("),
    ],
)
def test_a_socket_that_is_not_connected_yet_is_named_too(family: int, kind: int, text: str) -> None:
    (found,) = new(partial(socket.socket, family, kind))

    assert found.startswith(text)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_socket_that_only_sends_datagrams_does_no_harm(family: int) -> None:
    assert new(partial(socket.socket, family, socket.SOCK_DGRAM)) == []


def test_a_datagram_socket_that_receives_is_named() -> None:
    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        return sock

    (found,) = new(bound)

    assert found.startswith("a socket, 127.0.0.1:")


def test_an_epoll_descriptor_is_named() -> None:
    (found,) = new(select.epoll)

    assert found.startswith("an epoll descriptor, as an event loop has it (")


def test_our_own_descriptors_and_files_are_none() -> None:
    with socket.socket() as ours:
        without = unforkable.obstacles([ours.fileno()])
        assert not any(f"({ours.fileno()})" in each for each in without)
    with open(os.devnull) as file:
        assert not any(f"({file.fileno()})" in each for each in unforkable.obstacles(()))
