"""The client behind a proxy: only the proxies that the settings name are believed."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from sockact.sockets.peer import Peer, peer_of
from tests.support.http_client import exchange, get
from tests.support.manager import Manager, listening
from tests.support.sockets import bound
from tests.support.sources import TELLS_PEER

FORWARDED = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}
BELIEVED = ["192.0.2.7", "https"]


def ask(
    manager: Manager, listener: Listener, *proxies: str, headers: dict[str, str] = FORWARDED
) -> list[object]:
    """Serve with these proxies, and return host, scheme and the peer's user as the app sees them."""
    Path("app.py").write_text(TELLS_PEER)
    manager.sockact("app:app", *(f"--trusted-proxies={proxy}" for proxy in proxies), listeners=[listener])
    manager.wait_ready()
    where = listener if listener.address.count(":") else listener.address
    (client, scheme, uid) = json.loads(get(where, headers=headers).text)
    return [client and client[0], scheme, uid]


@pytest.mark.parametrize("proxies", [("127.0.0.1",), ("10.0.0.0/8", "127.0.0.0/8")])
def test_a_proxy_is_believed_by_its_address(
    manager: Manager, listener: Listener, proxies: tuple[str, ...]
) -> None:
    assert ask(manager, listener, *proxies) == [*BELIEVED, None]


@pytest.mark.parametrize("proxies", [(), ("10.0.0.1",), ("unix",)])
def test_nobody_else_is_believed(manager: Manager, listener: Listener, proxies: tuple[str, ...]) -> None:
    assert ask(manager, listener, *proxies) == ["127.0.0.1", "http", None]


def test_a_proxy_before_a_proxy_is_passed_over(manager: Manager, listener: Listener) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.1.1.1"}

    assert ask(manager, listener, "127.0.0.1", "10.0.0.0/8", headers=headers) == ["192.0.2.7", "http", None]


def test_what_follows_a_body_is_not_believed(manager: Manager, listener: Listener) -> None:
    """A proxy may pass the trailer section on, which it has not looked into."""
    Path("app.py").write_text(TELLS_PEER)
    manager.sockact("app:app", "--trusted-proxies=127.0.0.1", listeners=[listener])
    manager.wait_ready()
    head, _, body = exchange(
        listener,
        b"POST / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n",
    ).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == [["192.0.2.7", 0], "http", None]


class Outside(socket.socket):
    """A connection of a process that our PID namespace does not know, as the kernel shows it."""

    def getsockopt(self, *_: int) -> bytes:  # type: ignore[override]  # only one of its shapes
        return struct.pack("iII", 0, 3_000_000_000, 100)


def test_a_user_is_known_whose_process_is_not() -> None:
    with Outside(socket.AF_UNIX) as connection, socket.socket(socket.AF_UNIX) as nobodys:
        assert peer_of(connection) == Peer(0, 3_000_000_000, 100)
        assert peer_of(nobodys) is None


def test_an_address_is_known_on_a_socket_of_both_protocols(manager: Manager) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        listener = Listener.of(server.dup(), "web")
        Path("app.py").write_text(TELLS_PEER)
        manager.sockact("app:app", "--trusted-proxies=127.0.0.1", listeners=[listener])
        manager.wait_ready()

        assert "192.0.2.7" in get(("127.0.0.1", server.getsockname()[1]), headers=FORWARDED).text
        listener.close()


@pytest.mark.parametrize(
    ("proxy", "believed"),
    [("unix", True), (f"uid={os.getuid()}", True), ("uid=12345", False), ("127.0.0.1", False)],
)
def test_a_proxy_is_believed_by_its_user_on_a_unix_socket(
    manager: Manager, proxy: str, believed: bool
) -> None:
    unix = bound(socket.AF_UNIX, socket.SOCK_STREAM, "app.sock", listen=True)

    found = ask(manager, unix, proxy)

    assert found == [*(BELIEVED if believed else [None, "http"]), os.getuid()]
    unix.close()


@pytest.mark.parametrize("proxy", ["localhost", "10.0.0.0/99", "uid=nobody-at-all", "uid=nobody"])
def test_what_is_no_proxy_is_an_error(manager: Manager, proxy: str) -> None:
    Path("app.py").write_text(TELLS_PEER)
    manager.sockact("app:app", f"--trusted-proxies={proxy}", listeners=[own := listening()])

    assert manager.wait_exit() == 78
    assert f"trusted_proxies={proxy}: " in manager.stderr()
    own.close()
