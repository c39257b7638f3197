"""Several lines of X-Forwarded-For and X-Forwarded-Proto: one list, read from the right."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import connect, exchange
from tests.support.manager import Manager
from tests.support.sources import TELLS_PEER

SHOWING = """
import json

async def app(scope, receive, send):
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name.startswith(b"x-forwarded")]
    body = json.dumps(lines).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

SOCKETS = """
import json

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"x-scheme", scope["scheme"].encode())]})
    await send({"type": "websocket.close"})
"""


def ask(listener: Listener, lines: list[str], method: str = "GET") -> Any:
    head = [f"{method} / HTTP/1.1", "Host: test", "Connection: close", *lines, "", ""]
    answer = exchange(listener, "\r\n".join(head).encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def start(manager: Manager, listener: Listener, source: str = TELLS_PEER) -> None:
    Path("app.py").write_text(source)
    proxies = ["--trusted-proxies=127.0.0.1", "--trusted-proxies=10.0.0.0/8"]
    manager.sockact("app:app", *proxies, "--lifespan=off", listeners=[listener])
    manager.wait_ready()


FOR = "X-Forwarded-For: "


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([FOR + "6.6.6.6", FOR + "192.0.2.7"], "192.0.2.7"),
        ([FOR + "192.0.2.7", FOR + "6.6.6.6"], "6.6.6.6"),  # of a proxy that puts its own line first
        ([FOR + "6.6.6.6, 192.0.2.7", FOR + "10.1.1.1"], "192.0.2.7"),
        ([FOR + "6.6.6.6", FOR + "192.0.2.7, 10.1.1.1", FOR + "10.1.1.2"], "192.0.2.7"),
        ([FOR + "10.1.1.1", FOR + "10.1.1.2"], "10.1.1.1"),  # all are proxies: the farthest one
        (["x-forwarded-for: 6.6.6.6", "X-FORWARDED-FOR: 192.0.2.7"], "192.0.2.7"),
        ([FOR + "6.6.6.6", "X-Other: 1", FOR + "192.0.2.7"], "192.0.2.7"),
    ],
)
def test_several_lines_are_one_list_whose_last_stranger_is_the_client(
    manager: Manager, listener: Listener, lines: list[str], client: str
) -> None:
    start(manager, listener)

    assert ask(listener, lines)[0][0] == client


PROTO = "X-Forwarded-Proto: "


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        ([PROTO + "https"], "https"),
        ([PROTO + "http", PROTO + "https"], "https"),
        ([PROTO + "https", PROTO + "http"], "http"),
        ([PROTO + "http, https"], "https"),
        ([PROTO + "https,http"], "http"),
        ([PROTO + "http", PROTO + "http , https"], "https"),
        ([PROTO + "https, gopher"], "http"),  # no scheme of ours: that of the connection
        ([PROTO + "https", PROTO + ""], "http"),
    ],
)
def test_the_last_scheme_is_that_of_the_nearest_proxy(
    manager: Manager, listener: Listener, lines: list[str], scheme: str
) -> None:
    start(manager, listener)

    assert ask(listener, lines)[1] == scheme


def test_a_websocket_has_the_scheme_of_its_own_kind(manager: Manager, listener: Listener) -> None:
    start(manager, listener, SOCKETS)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET / HTTP/1.1", "Host: test", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", PROTO + "http, https", "", ""]
    with connect(listener) as sock:
        sock.sendall("\r\n".join(lines).encode())
        head = read_head(sock)

    assert b"\r\nx-scheme: wss\r\n" in head


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        assert data, head
        head += data
    return head


def test_the_app_sees_the_lines_as_they_came(manager: Manager, listener: Listener) -> None:
    start(manager, listener, SHOWING)
    lines = [FOR + "6.6.6.6", PROTO + "http, https", FOR + "192.0.2.7"]

    assert ask(listener, lines) == ["6.6.6.6", "http, https", "192.0.2.7"]


@pytest.mark.parametrize(
    ("lines", "client", "scheme"),
    [
        (["Forwarded: for=192.0.2.7;proto=https"], ["192.0.2.7", 0], "https"),
        (
            ["Forwarded: proto=http;for=6.6.6.6, for=192.0.2.7;by=_us;proto=https"],
            ["192.0.2.7", 0],
            "https",
        ),
        (['Forwarded: For="[2001:db8::7]:4711"', "Forwarded: for=10.1.1.1"], ["2001:db8::7", 4711], "http"),
        (['Forwarded: for="192.0.2.7:80", broken=, for=10.0.0.1'], ["192.0.2.7", 80], "http"),
        (["Forwarded: for=6.6.6.6", FOR + "192.0.2.7"], ["192.0.2.7", 0], "http"),  # the older one counts
    ],
)
def test_forwarded_is_read_as_the_others(
    manager: Manager, listener: Listener, lines: list[str], client: list[object], scheme: str
) -> None:
    start(manager, listener)

    assert ask(listener, lines)[:2] == [client, scheme]


@pytest.mark.parametrize("field", ["X-Real-IP: 6.6.6.6", "X-Forwarded-Host: a"])
def test_no_other_field_is_believed(manager: Manager, listener: Listener, field: str) -> None:
    start(manager, listener)

    (client, scheme, _) = ask(listener, [field])

    assert (client[0], scheme) == ("127.0.0.1", "http")
