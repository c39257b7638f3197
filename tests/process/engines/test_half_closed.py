"""Clients that end their side after a request, and clients that go: at any moment, whatever is behind."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.support.http_client import Client, get
from tests.support.manager import open_sockets, wait_until
from tests.support.served import Served, reset, served

counter = itertools.count()

SERVICES = [
    ("contrary_asgi", "uvloop"),
    ("contrary_asgi", "asyncio"),
    ("contrary_wsgi", "uvloop"),
    ("contrary_wsgi", "asyncio"),
]


@pytest.fixture(scope="module", params=SERVICES, ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    app, loop = request.param
    folder = tmp_path_factory.mktemp("gone")
    (folder / "file").write_bytes(300_000 * b"f")
    with served(folder, app, f"--loop={loop}", "--threads=20", "--linger=500ms") as service:
        yield service


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def asgi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = (f"--loop={request.param}", "--linger=500ms", "--ready-path=/ready")
    with served(tmp_path_factory.mktemp("gone"), "contrary_asgi", *options) as service:
        yield service


@pytest.fixture
def key() -> str:
    """Give a word that no other test uses."""
    return f"k{next(counter)}"


def end_side(client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)


def noticed(service: Served) -> None:
    """Wait until the service has read what was sent before."""
    for _ in range(3):
        assert get(service.address, "/hello").text == "hello"


VERSIONS = pytest.mark.parametrize("version", ["1.0", "1.1"])


@VERSIONS
@pytest.mark.parametrize(
    ("path", "size"),
    [("hello", 5), ("parts", 6), ("large", 8 << 20), ("path-send", 300_000), ("file", 300_000)],
)
def test_the_whole_response_comes(service: Served, version: str, path: str, size: int) -> None:
    with service.client() as client:
        client.send(f"GET /{path} HTTP/{version}\r\nHost: test\r\n\r\n")
        end_side(client)
        answer = client.read()

        assert answer.status == 200
        assert len(answer.body) in (size, 5)  # an app that lacks the path says hello
        assert client.at_eof()


@VERSIONS
@pytest.mark.parametrize("path", ["held", "streamed"])
def test_it_comes_though_it_takes_a_while(service: Served, version: str, path: str, key: str) -> None:
    with service.client() as client:
        client.send(f"GET /{path}?{key} HTTP/{version}\r\nHost: test\r\n\r\n")
        service.wait_noted(f"begun-{key}")
        end_side(client)
        noticed(service)
        service.let_go(key)

        assert client.read().text == ("held" if path == "held" else "begunended")
        assert client.at_eof()


@pytest.mark.parametrize("size", [5, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_answered(service: Served, size: int, chunked: bool) -> None:
    body = bytes(size)
    with service.client() as client:
        client.request("POST", "/echo", [body] if chunked else body, {})
        end_side(client)

        assert client.read().body == body
        assert client.at_eof()


def test_a_whole_pipeline_is_answered(service: Served) -> None:
    with service.client() as client:
        client.send(2000 * b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n")
        end_side(client)

        assert [client.read().text for _ in range(2000)] == 2000 * ["hello"]
        assert client.at_eof()


@pytest.mark.parametrize(
    "part",
    [
        "",
        "GET / HTT",
        "GET / HTTP/1.1\r\nHost: te",
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe",
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    ],
)
def test_a_part_of_a_request_ends(service: Served, part: str) -> None:
    with service.client() as client:
        client.send(part)
        end_side(client)

        assert client.at_eof()


BEHIND = {
    "nothing": b"",
    "a request": b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n",
    "many requests": 4000 * b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n",
    "many upgrades": 3000
    * b"GET /hello HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a health check": b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n",
    "a part": b"GET /hel",
    "an upload": b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe",
    "a bad line": b"\0\r\n\r\n",
    "a handshake": b"GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("ending", [Client.close, reset, end_side], ids=["close", "reset", "half"])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("path", ["listens", "streams"])
def test_the_app_is_told(asgi: Served, path: str, behind: str, ending: object, key: str) -> None:
    with asgi.client() as client:
        client.send(f"GET /{path}?{key} HTTP/1.1\r\nHost: test\r\n\r\n")
        asgi.wait_noted(f"begun-{key}")
        client.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            client.send(BEHIND[behind])
        assert callable(ending)
        ending(client)

        assert asgi.wait_noted(f"gone-{key}")


@pytest.mark.parametrize("ending", [Client.close, reset, end_side], ids=["close", "reset", "half"])
@pytest.mark.parametrize("behind", ["nothing", "a request", "many requests", "a part", "an upload"])
@pytest.mark.parametrize("second", ["listens", "streams"])
def test_the_app_is_told_of_a_request_that_waited(
    asgi: Served, second: str, behind: str, ending: object, key: str
) -> None:
    with asgi.client() as client:
        client.send(f"GET /held?{key} HTTP/1.1\r\nHost: test\r\n\r\n")
        asgi.wait_noted(f"begun-{key}")
        client.send(f"GET /{second}?second-{key} HTTP/1.1\r\nHost: test\r\n\r\n".encode() + BEHIND[behind])
        noticed(asgi)
        assert callable(ending)
        ending(client)
        noticed(asgi)
        asgi.let_go(key)
        if ending is end_side:
            assert asgi.wait_noted(f"begun-second-{key}")

        wait_until(lambda: not asgi.noted(f"begun-second-{key}") or asgi.noted(f"gone-second-{key}"))


@pytest.mark.parametrize("ending", [Client.close, reset], ids=["close", "reset"])
def test_an_app_is_told_amid_an_upload_it_does_not_take(asgi: Served, ending: object, key: str) -> None:
    with asgi.client() as client:
        client.send(f"POST /sends?{key} HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n")
        client.read_head()
        client.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            client.send(bytes(9_000_000))
        assert callable(ending)
        ending(client)

        assert asgi.wait_noted(f"gone-{key}") == "ClientGone"


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_client_may_reset_at_any_moment(service: Served, at: int) -> None:
    data = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
    data += b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n"
    service.mark()
    for _ in range(5):
        client = service.client()
        client.send(data[: at or 1])
        if at > 100:
            client.read_head()
        reset(client)

    noticed(service)
    assert "Traceback" not in service.log()


def test_nothing_is_left(service: Served) -> None:
    wait_until(lambda: open_sockets(service.pid) <= service.sockets)


def test_nothing_is_left_of_what_was_told(asgi: Served) -> None:
    wait_until(lambda: open_sockets(asgi.pid) <= asgi.sockets)
