"""ASGI apps, as ASGI 3 has them, and as it does not."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.http_client import Client, get
from tests.support.manager import LIMIT
from tests.support.served import Served, served

HEAD = "Host: test\r\n\r\n"

counter = itertools.count()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def asgi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("asgi")
    (folder / "file").write_bytes(300_000 * b"f")
    with served(folder, "contrary_asgi", f"--loop={request.param}") as service:
        yield service


@pytest.fixture
def key() -> str:
    """Give a word that no other test uses."""
    return f"k{next(counter)}"


BEFORE = [
    "raises",
    "exits",
    "interrupts",
    "cancels",
    "base",
    "returns",
    "starts-only",
    "body-first",
    "two-starts",
    "unknown-message",
    "no-type",
    "no-message",
    "trailers-unannounced",
    "status-999",
    "status-101",
    "status-text",
    "line-end",
    "line-feed",
    "null",
    "name",
    "text-field",
    "text-value",
    "no-fields",
    "text-body",
    "text-part",
    "no-body",
    "two-lengths",
    "bad-length",
    "endless-length",
    "too-long",
    "too-short",
    "too-long-in-parts",
    "path-send-wrong",
]
LATE = ["raises-late", "exits-late", "too-long-late", "too-short-late", "text-late"]
AFTER = ["two-ends", "starts-again", "raises-after"]


@pytest.mark.parametrize("path", BEFORE)
def test_a_failure_before_the_response_is_a_500_and_one_entry(asgi: Served, path: str) -> None:
    asgi.mark()
    with asgi.client() as client:
        assert client.get(f"/{path}").status == 500
        assert client.get("/hello").text == "hello"

    assert len(re.findall(f"GET /{path}: ", asgi.log())) == 1
    assert ("Traceback" in asgi.log()) == (path not in ("returns", "starts-only"))


@pytest.mark.parametrize("path", BEFORE)
def test_nor_does_it_wait_for_a_body(asgi: Served, path: str) -> None:
    with asgi.client() as client:
        client.send(f"POST /{path} HTTP/1.1\r\nContent-Length: 100\r\n{HEAD}half")

        assert client.read().status == 500
        assert client.at_eof()


@pytest.mark.parametrize("path", LATE)
def test_a_failure_amid_the_response_is_a_reset_and_one_entry(asgi: Served, path: str) -> None:
    asgi.mark()
    with asgi.client() as client:
        client.ask(f"/{path}")
        with pytest.raises(ConnectionError):
            client.read()

    asgi.wait_logged(f"GET /{path}: ")
    assert asgi.log().count(f"GET /{path}: ") == asgi.log().count("Traceback") == 1


def test_a_response_that_is_not_ended_is_seen_to_be_cut(asgi: Served) -> None:
    with asgi.client() as client:
        client.ask("/returns-late")
        client.read_head()
        assert client.read_chunk() == b"begun"
        assert client.at_eof()


@pytest.mark.parametrize("path", AFTER)
def test_a_failure_after_the_response_is_one_entry(asgi: Served, path: str) -> None:
    asgi.mark()
    with asgi.client() as client:
        assert client.get(f"/{path}").status == 200
        assert client.get("/hello").text == "hello"

    asgi.wait_logged(f"GET /{path}: ")
    assert asgi.log().count(f"GET /{path}: ") == asgi.log().count("Traceback") == 1


@pytest.mark.parametrize("way", ["raise", "return"])
def test_a_task_that_an_app_leaves_behind_cannot_answer_any_more(asgi: Served, key: str, way: str) -> None:
    """Its response would be taken for that to the next request."""
    key = way + key
    with asgi.client() as client:
        assert client.get(f"/leaves-a-task?{key}").status == 500
        asgi.let_go(key)

        assert asgi.wait_noted(f"late-{key}") == "ClientGone"
        assert client.get("/hello").text == "hello"


def test_two_tasks_may_wait_for_the_client(asgi: Served, key: str) -> None:
    with asgi.client() as client:
        client.ask(f"/two-receive?{key}")
        asgi.wait_noted(f"begun-{key}")

    assert asgi.wait_noted(f"gone-{key}")


def test_an_app_may_give_up_waiting_for_the_client(asgi: Served, key: str) -> None:
    with asgi.client() as client:
        client.ask(f"/impatient?{key}")
        asgi.wait_noted(f"begun-{key}")

    assert asgi.wait_noted(f"gone-{key}") == "http.disconnect"


def test_an_app_that_receives_for_ever_does_not_stop_all_others(asgi: Served) -> None:
    with asgi.client() as client:
        client.ask("/receives-for-ever")
        asgi.wait_noted("receives")

    assert [get(asgi.address, "/hello").text for _ in range(10)] == ["hello"] * 10


@pytest.mark.parametrize("request_", ["GET /sends-for-ever", "GET /sends-nothing", "HEAD /sends-for-ever"])
def test_an_app_that_sends_for_ever_does_not_stop_all_others(asgi: Served, request_: str) -> None:
    with asgi.client() as client:
        client.send(f"{request_} HTTP/1.1\r\n{HEAD}")
        client.read_head()
        reader = threading.Thread(target=read_all, args=[client])
        reader.start()

        try:
            assert [get(asgi.address, "/hello").text for _ in range(10)] == ["hello"] * 10
        finally:
            client.sock.shutdown(socket.SHUT_RDWR)
            reader.join()


def read_all(client: Client) -> None:
    with contextlib.suppress(OSError):
        while client.sock.recv(1 << 20):
            pass


@pytest.mark.parametrize("number", [200, 299, 418, 451, 499, 599])
def test_any_status_is_sent(asgi: Served, number: int) -> None:
    with asgi.client() as client:
        assert client.get(f"/status?{number}").status == number
        assert client.get("/hello").text == "hello"


@pytest.mark.parametrize(
    ("path", "status"), [("not-modified", 304), ("no-content", 204), ("measured", 200)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_length_without_a_body_keeps_the_connection(
    asgi: Served, method: str, path: str, status: int
) -> None:
    with asgi.client() as client:
        client.request(method, f"/{path}", None, {})
        answer = client.read(head_only=method == "HEAD")
        assert (answer.status, answer.closes) == (status, False)
        assert client.get("/hello").text == "hello"


def test_there_is_one_date(asgi: Served) -> None:
    with asgi.client() as client:
        client.ask("/measured")
        lines = list(iter(client.read_line, b"\r\n"))

        assert [line for line in lines if line.lower().startswith(b"date:")] == [b"date: today\r\n"]
        assert client.read_bytes(5) == b"hello"


def test_early_hints_come_before(asgi: Served) -> None:
    with asgi.client() as client:
        client.ask("/hints")

        hints = client.read()
        assert (hints.status, hints.headers) == (103, {"link": "</a.css>; rel=preload"})
        assert client.read().text == "hinted"


@pytest.mark.parametrize("path", ["hints", "parts", "trailers", "path-send", "echo"])
@pytest.mark.parametrize("keep", [False, True])
def test_http_1_0_never_sees_chunks_nor_hints(asgi: Served, path: str, keep: bool) -> None:
    with asgi.client() as client:
        client.send(f"GET /{path} HTTP/1.0\r\n{'Connection: keep-alive' if keep else 'X: y'}\r\n\r\n")

        answer = client.read()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        length = {"parts": 6, "hints": 6, "trailers": 7, "path-send": 300_000, "echo": 0}[path]
        assert len(answer.body) == length
        if keep and "content-length" in answer.headers:
            assert answer.headers["connection"] == "keep-alive"
            assert client.get("/hello").text == "hello"
        else:
            assert answer.closes
            assert client.at_eof()


def test_trailers_are_for_those_that_take_them(asgi: Served) -> None:
    with asgi.client() as client:
        client.ask("/trailers")
        assert client.read().text == "trailed"

        client.request("GET", "/trailers", None, {"TE": "trailers"})
        client.read_head()
        assert client.read_chunk() == b"trailed"
        assert [client.read_line() for _ in range(4)] == [
            b"0\r\n",
            b"x-sum: 1\r\n",
            b"x-end: 2\r\n",
            b"\r\n",
        ]
        assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_is_sent_by_its_path(asgi: Served, method: str) -> None:
    with asgi.client() as client:
        client.request(method, "/path-send", None, {})
        answer = client.read(head_only=method == "HEAD")
        assert answer.headers["content-length"] == "300000"
        assert answer.body == (300_000 * b"f" if method == "GET" else b"")
        assert client.get("/hello").text == "hello"


def test_an_app_that_does_not_read_makes_its_client_wait(asgi: Served, key: str) -> None:
    with asgi.client() as client:
        client.send(f"POST /slow-reader?{key} HTTP/1.1\r\nContent-Length: 20000000\r\n{HEAD}")
        asgi.wait_noted(f"begun-{key}")
        client.sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000_000:
                sent += client.sock.send(bytes(65536))
        assert sent < 20_000_000
        client.sock.settimeout(LIMIT)
        asgi.let_go(key)
        client.send(bytes(20_000_000 - sent))

        assert client.read().text == "20000000"


def test_a_client_that_does_not_read_makes_its_app_wait(asgi: Served, key: str) -> None:
    with asgi.client() as client:
        client.ask(f"/sends?{key}")
        client.read_head()
        sent = -1
        while sent != (sent := asgi.noted(f"sent-{key}") or 0):
            for _ in range(50):
                assert get(asgi.address, "/hello").text == "hello"

        assert sent < 20_000_000

    assert asgi.wait_noted(f"gone-{key}") == "ClientGone"
