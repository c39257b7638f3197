"""nginx and HAProxy in front of the service, on connections that they keep, over TCP and a Unix socket."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import connect as connect_websocket

from sockact.probe.background import BackgroundProbe
from sockact.sockets.fds import Listener
from tests.conformance.apps.common import LONG, PARTS
from tests.conformance.programs import accepts, running, version_of
from tests.conformance.serving import SUPERVISED, listening_on, reload, start
from tests.support.http_client import Client, connect, get
from tests.support.manager import LIMIT, Manager, wait_until

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 10m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{ server {nginx}; keepalive 16; }}
    map $http_upgrade $to_service {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version {version};
            proxy_next_upstream off;
            proxy_request_buffering {buffering};
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $to_service;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 512
    stats socket {folder}/haproxy.sock
defaults
    mode http
    retries 0
    http-reuse always
    option forwardfor
    timeout connect 20s
    timeout server 20s
    timeout client 20s
frontend clients
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-Proto https
    default_backend service
backend service
    option httpchk GET /ready
    server app {haproxy} pool-max-conn -1 check inter 100ms
"""

NAMES = {"nginx": "nginx", "haproxy": "HAProxy"}

USER = "user root;" if os.geteuid() == 0 else ""
"""Root's folders of tests are closed to others, and to nginx's own user."""

CLAIMED = {"X-Forwarded-For": "203.0.113.9"}
"""The header of a client that says who it would like to be."""

UPLOAD = 2_000_000


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        address: where clients reach it.
        service: what it stands before.
        manager: the service's.
    """

    address: tuple[str, int]
    service: Listener
    manager: Manager

    def client(self, source: str = "127.0.0.1") -> Client:
        """Connect from an address of this host."""
        return Client(self.address, source)


Start = Callable[..., contextlib.AbstractContextManager[Proxy]]


def free_port() -> int:
    """Return a port of which nobody else is likely to hear before the proxy binds it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, program: Callable[[str], str]) -> str:
    """Give the name of a proxy that is installed."""
    return program(request.param)


@pytest.fixture(params=["TCP", "Unix socket"])
def kind(request: pytest.FixtureRequest) -> str:
    """Give the kind of the socket between proxy and service."""
    return request.param


@pytest.fixture
def before(name: str, kind: str, manager: Manager, tmp_path: Path) -> Iterator[Start]:
    """Give a context manager in which the proxy stands before the service."""
    listener = listening_on(kind, tmp_path)
    folder = tmp_path / "proxy"
    folder.mkdir()

    @contextlib.contextmanager
    def before(*options: str, buffering: str = "on", version: str = "1.1") -> Iterator[Proxy]:
        start(manager, listener, "client_asgi", "--ready-path=/ready", *options)
        port = free_port()
        path = folder / "proxy.conf"
        target = listener.address if kind == "TCP" else f"unix:{listener.address}"
        to_haproxy = target if kind == "TCP" else f"unix@{listener.address}"
        text = NGINX if name == "nginx" else HAPROXY
        values = {"folder": folder, "port": port, "user": USER, "buffering": buffering, "version": version}
        path.write_text(text.format(**values, nginx=target, haproxy=to_haproxy))
        options = ("-p", str(folder), "-c", str(path)) if name == "nginx" else ("-db", "-f", str(path))
        with running(name, *options, until=lambda: accepts(port)):
            yield Proxy(("127.0.0.1", port), listener, manager)
        log = folder / "nginx.log"
        assert not log.exists() or log.read_text() == ""

    yield before
    listener.close()


@pytest.fixture
def say(name: str, passed: Callable[..., None]) -> Callable[[str, int], None]:
    """Give a callable that takes what a proxy has asked for, and how often."""
    version = version_of(name, "-v")
    return lambda what, count: passed(NAMES[name], version, what, count)


def test_requests_come_on_connections_that_the_proxy_keeps(
    before: Start, kind: str, say: Callable[[str, int], None]
) -> None:
    with before() as proxy, proxy.client() as one, proxy.client() as other:
        clients = [client.get("/client").json[0] for _ in range(20) for client in (one, other)]

    if kind == "TCP":
        assert len({port for _, port in clients}) <= 2
    else:
        assert clients == [None] * 40
    say("kept connections", 40)


def bodies(proxy: Proxy) -> int:
    """Send and get bodies on one connection, and return how many."""
    sent = (bytes(UPLOAD), [bytes(10_000)] * 50, b"")
    with proxy.client() as client:
        assert client.get("/stream").text == "".join(PARTS)
        assert client.get("/long").body == LONG
        for body in sent:
            client.request("POST", "/length", body, {})
            assert client.read().text == f"{len(body) if isinstance(body, bytes) else 500_000}\n"
        client.request("HEAD", "/long", None, {})
        assert client.read(head_only=True).headers["content-length"] == f"{len(LONG)}"
        assert client.get("/").text == "hello\n"
    return len(sent) + 4


def test_bodies_pass_through_whole(before: Start, say: Callable[[str, int], None]) -> None:
    with before() as proxy:
        say("uploads and downloads", bodies(proxy))


@pytest.mark.parametrize("name", ["nginx"], indirect=True)
def test_bodies_pass_through_whole_that_the_proxy_does_not_keep(
    before: Start, say: Callable[[str, int], None]
) -> None:
    with before(buffering="off") as proxy:
        say("uploads without buffering", bodies(proxy))


@pytest.mark.parametrize("name", ["nginx"], indirect=True)
def test_bodies_pass_through_whole_in_http_1_0(before: Start, say: Callable[[str, int], None]) -> None:
    """Which nginx speaks unless it is told otherwise."""
    with before(version="1.0") as proxy:
        say("HTTP/1.0", bodies(proxy))


@pytest.mark.parametrize("name", ["haproxy"], indirect=True)
def test_health_checks_pass(before: Start, tmp_path: Path, say: Callable[[str, int], None]) -> None:
    """HAProxy sends them in HTTP/1.0, and without a Host."""
    with before():
        told = wait_until(lambda: passed(tmp_path / "proxy/haproxy.sock"))

    assert told["check_code"] == "200"
    say("health checks", 1)


def passed(path: Path) -> dict[str, str] | None:
    """Return what HAProxy tells of the service once a check has passed; on a busy machine one is late."""
    if not path.exists():  # it gets its name after the ports are open
        return None
    with connect(str(path)) as sock:
        sock.sendall(b"show stat\n")
        lines = sock.makefile().read().removeprefix("# ").splitlines()
    rows = {(row["pxname"], row["svname"]): row for row in csv.DictReader(lines)}
    found = rows["service", "app"]
    return found if (found["status"], found["check_status"]) == ("UP", "L7OK") else None


def test_a_websocket_passes_through(before: Start, say: Callable[[str, int], None]) -> None:
    with before() as proxy:
        host, port = proxy.address
        with connect_websocket(f"ws://{host}:{port}/", proxy=None, open_timeout=LIMIT) as socket:
            for text in ("wörld", "x" * 100_000):
                socket.send(text)
                assert socket.recv(timeout=LIMIT) == text
    say("WebSocket", 1)


def test_a_trusted_proxy_says_who_the_client_is(
    before: Start, kind: str, say: Callable[[str, int], None]
) -> None:
    trusted = "127.0.0.1" if kind == "TCP" else "unix"
    with before(f"--trusted-proxies={trusted}") as proxy, proxy.client("127.0.0.5") as client:
        client.request("GET", "/client", None, CLAIMED)
        answer = client.read()

    assert answer.json == [["127.0.0.5", 0], "https"]
    say("X-Forwarded-For, trusted", 1)


def test_a_proxy_that_is_not_trusted_is_not_believed(
    before: Start, kind: str, say: Callable[[str, int], None]
) -> None:
    with before() as proxy:
        client, scheme = get(proxy.address, "/client", headers=CLAIMED).json

    assert (client and client[0], scheme) == ("127.0.0.1" if kind == "TCP" else None, "http")
    say("X-Forwarded-For, not trusted", 1)


def test_no_request_fails_in_a_reload(before: Start, say: Callable[[str, int], None]) -> None:
    with before(*SUPERVISED) as proxy:
        host, port = proxy.address
        with BackgroundProbe(f"http://{host}:{port}", ["persistent:4@max", "persistent:8@20"]) as clients:
            reload(proxy.manager)
            report = clients.report()

    assert report["lost"] == 0, report["failures"]
    say("over a reload", report["total"]["requests"])
