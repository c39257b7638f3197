"""The PROXY protocol on listeners that the setting names, from proxies that are trusted."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import connect, get
from tests.support.manager import LIMIT, Manager, listening
from tests.support.sources import TELLS_PEER

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"


@pytest.fixture
def front() -> Iterator[Listener]:
    listener = listening(name="front")
    yield listener
    listener.close()


def start(manager: Manager, *listeners: Listener, trusted: str = "127.0.0.1") -> None:
    Path("app.py").write_text(TELLS_PEER)
    options = ("--proxy-protocol=front", f"--trusted-proxies={trusted}", "--header-timeout=1s")
    manager.sockact("app:app", *options, listeners=list(listeners))
    manager.wait_ready()


def exchange(listener: Listener, *pieces: bytes) -> bytes:
    with connect(listener) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        client.settimeout(LIMIT)
        return b"".join(iter(lambda: client.recv(4096), b""))


def told(answer: bytes) -> Any:
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_the_client_is_the_one_that_the_proxy_tells(manager: Manager, front: Listener) -> None:
    start(manager, front)

    assert told(exchange(front, HEADER + REQUEST)) == [["192.0.2.7", 4711], "http", None]
    assert told(exchange(front, *(bytes([byte]) for byte in HEADER), REQUEST))[0] == ["192.0.2.7", 4711]
    assert told(exchange(front, b"PROXY UNKNOWN\r\n" + REQUEST))[0] == ["6.6.6.6", 0]  # the proxy's own


def test_other_listeners_do_not_speak_it(manager: Manager, front: Listener, listener: Listener) -> None:
    start(manager, front, listener)

    assert get(listener).status == 200
    assert exchange(listener, HEADER + REQUEST).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("pieces", [(REQUEST,), (HEADER[:-2],)], ids=["no header", "half of one"])
def test_a_connection_without_a_header_is_closed(
    manager: Manager, front: Listener, pieces: tuple[bytes, ...]
) -> None:
    start(manager, front)

    with contextlib.suppress(ConnectionResetError):  # where a request stays unread
        assert exchange(front, *pieces) == b""
    assert told(exchange(front, HEADER + REQUEST))


def test_nobody_else_is_believed(manager: Manager, front: Listener) -> None:
    start(manager, front, trusted="192.0.2.99")

    with contextlib.suppress(ConnectionResetError):  # its request stays unread
        assert exchange(front, HEADER + REQUEST) == b""


def test_it_needs_somebody_to_trust(manager: Manager, front: Listener) -> None:
    Path("app.py").write_text(TELLS_PEER)
    manager.sockact("app:app", "--proxy-protocol=front", listeners=[front])

    assert manager.wait_exit() == 78
    assert "proxy_protocol=front: expected trusted_proxies to be set too" in manager.stderr()
