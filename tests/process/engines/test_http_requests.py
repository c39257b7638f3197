"""What requests HTTP/1.1 allows and refuses, as RFC 9110 and RFC 9112 have it, and what they may cost."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, get
from tests.support.manager import CHECKOUT, Manager, resident
from tests.support.served import Served, reset, served

TOO_MUCH = 16 << 20
"""Bytes that a connection costs only if nothing bounds it."""

CHUNKED = "Transfer-Encoding: chunked\r\n"
H2C = "Host: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
LENGTH = "Content-Length: 2\r\n\r\n"
EXPECTS = "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def asgi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("requests")
    options = (f"--loop={request.param}", "--ready-path=/ready", "--access-log", "--linger=500ms")
    with served(folder, "contrary_asgi", *options) as service:
        yield service


REFUSED = {
    "no Host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "a Host that is none": ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "HTTP/2.0": ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9": ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9, bare": ("GET /\r\n\r\n", 400),
    "HTTP/2's preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "RTSP": ("GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "two spaces": ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "no path": ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "LF only": ("GET / HTTP/1.1\nHost: a\n\n", 400),
    "a coding we lack": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "an unknown coding": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 400),
    "x, then chunked": (f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n{CHUNKED}\r\n", 501),
    "chunked twice": (f"POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}{CHUNKED}\r\n", 400),
    "chunked in 1.0": (f"POST / HTTP/1.0\r\n{CHUNKED}\r\n", 400),
    "length and chunks": (f"POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}Content-Length: 1\r\n\r\n", 400),
    "two lengths": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "no length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400),
    "a hex length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
    "a huge length": (f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {'9' * 5000}\r\n\r\n", 400),
    "a folded field": ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "a space before a colon": ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    "a field without a name": ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "h2c and an unknown coding": (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: x\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("before", [0, 1, 50])
def test_it_is_refused_and_those_before_it_are_not(asgi: Served, kind: str, before: int) -> None:
    data, status = REFUSED[kind]
    with asgi.client() as client:
        client.send(before * b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" + data.encode("latin-1"))

        assert [client.read().text for _ in range(before)] == before * ["hello"]
        answer = client.read()
        assert (answer.status, answer.closes) == (status, True)
        assert client.at_eof()


SERVED = {
    "any method": ("M-SEARCH /hello HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "a method in lower case": ("get /hello HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "absolute form": ("GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "absolute form without a path": ("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "absolute form of any scheme": ("GET x+y://b/hello HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "asterisk": ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "an empty Host": ("GET /hello HTTP/1.1\r\nHost:\r\n\r\n", b"hello"),
    "a Host of IPv6": ("GET /hello HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"hello"),
    "another minor version": ("GET /hello HTTP/1.9\r\nHost: a\r\n\r\n", b"hello"),
    "empty lines before": ("\r\n\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "h2c": ("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"hello"),
    "h2c with a body": (
        f"POST /echo HTTP/1.1\r\n{H2C}{LENGTH}ab",
        b"ab",
    ),
    "h2c with chunks": (
        f"POST /echo HTTP/1.1\r\n{H2C}{CHUNKED}\r\n2\r\nab\r\n0\r\n\r\n",
        b"ab",
    ),
    "chunks": (
        f"POST /echo HTTP/1.1\r\nHost: a\r\n{CHUNKED}\r\n1;x=y\r\na\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n",
        b"ab",
    ),
    "a body that is not read": ("POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", b"hello"),
    "1.0 that keeps": ("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"hello"),
    "a health check": ("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n", b"active"),
    "a health check with a body": (
        "POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        b"active",
    ),
}


@pytest.mark.parametrize("kind", SERVED)
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_it_is_served_as_often_as_it_comes(asgi: Served, kind: str, count: int) -> None:
    data, body = SERVED[kind]
    with asgi.client() as client:
        client.send(count * data.encode("latin-1") + b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")

        bodies = [client.read().body.strip() for _ in range(count)]
        assert set(bodies) in ({body}, {b"ready"})
        assert client.read().headers["x-length"] == "0"


@pytest.mark.parametrize("kind", ["chunks", "h2c with a body", "a health check with a body"])
def test_it_may_be_cut_at_every_place(asgi: Served, kind: str) -> None:
    data = SERVED[kind][0].encode()
    with asgi.client() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(1, len(data)):
            client.send(data[:at])
            get(asgi.address, "/hello")
            client.send(data[at:])
            assert client.read().status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_100_continue_is_for_1_1(asgi: Served, version: str) -> None:
    with asgi.client() as client:
        client.send(
            f"POST /echo HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        if version == "1.1":
            assert client.read_line() == b"HTTP/1.1 100 Continue\r\n"
            assert client.read_line() == b"\r\n"
        else:
            assert not select.select([client.sock], [], [], 0.2)[0]
        client.send("ab")

        assert client.read().body == b"ab"


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a%0aforged HTTP/1.1",
        b"GET /a\x1b[31m HTTP/1.1",
        b"GET /a\nforged HTTP/1.1",
        b"GET /a\rforged HTTP/1.1",
        b"GET /\xc2\x85forged HTTP/1.1",
        b"GET /\xe2\x80\xa8forged HTTP/1.1",
        b"X\x1b /a HTTP/1.1",
        b'GET /" 200\tforged HTTP/1.1',
    ],
)
def test_no_request_forges_a_log_line(asgi: Served, line: bytes) -> None:
    asgi.mark()
    with asgi.client() as client:
        client.send(line + b"\r\nHost: a\r\n\r\n")
        client.read()
    with asgi.client() as client:
        client.send(line.replace(b"/", b"/raises?", 1) + b"\r\nHost: a\r\n\r\n")
        client.read()

    lines = asgi.log().splitlines()
    assert not [each for each in lines if each.startswith(("forged", "[31m"))]
    assert all(each.isprintable() or each.startswith(" ") for each in lines)


FLOODS = {
    "health checks": 40_000 * b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n",
    "requests": 40_000 * b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "upgrades": 20_000 * b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "chunks": 10_000 * SERVED["chunks"][0].encode(),
    "behind a body": b"POST /listens HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    + 40_000 * b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "a body": b"POST /listens HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n" + bytes(1 << 20),
    "empty chunks": b"POST /held HTTP/1.1\r\nHost: a\r\n"
    + CHUNKED.encode()
    + b"\r\n"
    + 400_000 * b"1\r\na\r\n",
    "expectations": 20_000
    * b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_client_that_never_reads_costs_little_memory(asgi: Served, kind: str) -> None:
    before = resident(asgi.pid)
    with asgi.client() as client:
        client.sock.settimeout(0.5)
        view = memoryview(20 * FLOODS[kind] if kind == "health checks" else FLOODS[kind])
        with contextlib.suppress(OSError):
            while view:
                view = view[client.sock.send(view[: 1 << 18]) :]
                assert resident(asgi.pid) - before < TOO_MUCH
        assert get(asgi.address, "/hello").text == "hello"
        assert resident(asgi.pid) - before < TOO_MUCH
        reset(client)


# What is told to apps.


@pytest.mark.parametrize(
    ("path", "rest"),
    [("/api/a", "/a"), ("/api", ""), ("/apix", "/apix"), ("/other", "/other"), ("/api//a", "//a")],
)
def test_the_root_path_is_a_whole_part_of_the_path(
    manager: Manager, listener: Listener, path: str, rest: str
) -> None:
    source = (CHECKOUT / "tests/apps/contrary_wsgi.py").read_text()
    Path("app.py").write_text(source.replace("    name = path.", '    name = "environ" or path.'))
    manager.sockact("app:app", "--root-path=/api", listeners=[listener])
    manager.wait_ready()

    told = get(listener, path).json
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/api", rest)


@pytest.mark.parametrize("url", ["/a%2Fb", "/%ff", "/%e2%82%ac", "/%", "//a", "/a%00b", "/\xff"])
def test_the_path_keeps_every_byte(manager: Manager, listener: Listener, url: str) -> None:
    source = (CHECKOUT / "tests/apps/contrary_wsgi.py").read_text()
    Path("app.py").write_text(source.replace("    name = path.", '    name = "environ" or path.'))
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    with Client(listener) as client:
        client.send(f"GET {url}?q=%41 HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
        told = client.read().json
    expected = {"/a%2Fb": "/a/b", "/%ff": "/\xff", "/%e2%82%ac": "/\xe2\x82\xac", "/a%00b": "/a\0b"}
    assert told["PATH_INFO"] == expected.get(url, url)
    assert told["QUERY_STRING"] == "q=%41"
    assert (told["SERVER_NAME"], told["SERVER_PORT"]) == ("127.0.0.1", told["SERVER_PORT"])


@pytest.mark.parametrize(
    "host", ["", "Host: test", "Host: test:8000", "Host: [::1]:80", "Host: [::1]", "Host:"]
)
def test_a_unix_socket_gives_a_valid_url(manager: Manager, tmp_path: Path, host: str) -> None:
    source = (CHECKOUT / "tests/apps/contrary_wsgi.py").read_text()
    Path("app.py").write_text(source.replace("    name = path.", '    name = "environ" or path.'))
    path = str(tmp_path / "http.sock")
    manager.sockact("app:app", f"--listen=unix:{path}")
    manager.wait_ready()

    with Client(path) as client:
        version = "1.1" if host else "1.0"
        client.send(f"GET / HTTP/{version}\r\n{host or 'X: y'}\r\n\r\n")
        told = client.read().json
    named = {"Host: test:8000": ("test", "8000"), "Host: test": ("test", "80")}
    named |= {"Host: [::1]:80": ("[::1]", "80"), "Host: [::1]": ("[::1]", "80")}
    assert (told["SERVER_NAME"], told["SERVER_PORT"]) == named.get(host, ("localhost", "80"))
    assert told["REMOTE_ADDR"] == ""


def test_names_that_clients_make_up_are_not_kept(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text((CHECKOUT / "tests/apps/contrary_wsgi.py").read_text())
    pid = manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()
    with Client(listener) as client:
        assert client.get().text == "hello"
        before = resident(pid)
        for number in range(1000):
            client.send(f"GET / HTTP/1.1\r\nHost: a\r\nX{number}{60_000 * 'x'}: y\r\n\r\n")
            assert client.read().text == "hello"

        assert resident(pid) - before < TOO_MUCH


@pytest.mark.parametrize(
    "field",
    [
        f"X-Forwarded-For: 1.2.3.4:{5000 * '9'}",
        f"X-Forwarded-For: [::1]:{5000 * '9'}",
        f'Forwarded: for="1.2.3.4:{5000 * "9"}"',
        "Forwarded: " + 10_000 * 'a="\\",',
        "X-Forwarded-For: " + 30_000 * ",",
    ],
)
def test_nothing_that_a_proxy_passes_on_fails(manager: Manager, listener: Listener, field: str) -> None:
    Path("app.py").write_text((CHECKOUT / "tests/apps/contrary_asgi.py").read_text())
    manager.sockact("app:app", "--trusted-proxies=127.0.0.1", listeners=[listener])
    manager.wait_ready()

    with Client(listener) as client:
        client.send(f"GET /scope HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")
        assert client.read().json["type"] == "http"
    assert "ERROR" not in manager.stderr()
