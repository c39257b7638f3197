"""WSGI apps that do what they should not, and clients that do the same to them."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.support.http_client import get
from tests.support.served import Served, reset, served

counter = itertools.count()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def wsgi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("wsgi")
    (folder / "file").write_bytes(300_000 * b"f")
    with served(folder, "contrary_wsgi", f"--loop={request.param}", "--threads=4") as service:
        yield service


@pytest.fixture
def key() -> str:
    """Give a word that no other test uses."""
    return f"k{next(counter)}"


BEFORE = (
    "raises exits interrupts base none text list-of-text list-of-texts list-of-none number list-of-numbers "
    "yields-text no-start no-start-generator two-starts number-status word-status status-999 status-101 "
    "reason line-end wide bytes-field endless-length too-long too-long-in-parts too-short next-raises"
)
LATE = "next-raises-late next-and-close-raise text-late too-long-late too-short-late shrunk-file"


@pytest.mark.parametrize("path", BEFORE.split())
def test_a_failure_before_the_response_is_a_500_and_one_entry(wsgi: Served, path: str) -> None:
    wsgi.mark()
    with wsgi.client() as client:
        assert client.get(f"/{path}").status == 500
        assert client.get("/hello").text == "hello"

    assert len(re.findall(f"GET /{path}: ", wsgi.log())) == 1
    assert "Traceback" in wsgi.log()


@pytest.mark.parametrize("path", LATE.split())
def test_a_failure_amid_the_response_is_a_reset_and_one_entry(wsgi: Served, path: str) -> None:
    wsgi.mark()
    with wsgi.client() as client:
        client.ask(f"/{path}")
        with pytest.raises(ConnectionError):
            client.read()

    wsgi.wait_logged(f"GET /{path}: ")
    assert len(re.findall(f"GET /{path}: ", wsgi.log())) == 1


def test_what_is_written_after_the_end_reaches_nobody(wsgi: Served, key: str) -> None:
    with wsgi.client() as client:
        assert client.get(f"/writes-late?{key}").text == "end"
        wsgi.let_go(key)
        assert wsgi.wait_noted(f"late-{key}")

        assert [client.get("/hello").text for _ in range(5)] == 5 * ["hello"]


def test_a_close_that_fails_is_an_entry(wsgi: Served) -> None:
    wsgi.mark()
    with wsgi.client() as client:
        assert client.get("/close-raises").text == "end"
        assert client.get("/hello").text == "hello"

    wsgi.wait_logged("GET /close-raises: ")
    assert wsgi.log().count("Traceback") == 1


def test_a_child_that_returns_into_the_server_answers_nobody(wsgi: Served) -> None:
    with wsgi.client() as client:
        assert client.get("/forks").text == "of the parent"
        assert client.get("/hello").text == "hello"


def test_the_end_comes_though_a_child_holds_the_connection(wsgi: Served) -> None:
    with wsgi.client() as client:
        client.request("GET", "/keeps", None, {"Connection": "close"})
        child = int(client.read().text)
        assert client.at_eof()
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("path", "size"),
    [("file", 300_000), ("file-from-the-middle", 10), ("part-of-a-file", 10), ("no-file", 7), ("parts", 6)],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_files_are_sent_whole(wsgi: Served, method: str, version: str, path: str, size: int) -> None:
    with wsgi.client() as client:
        client.send(f"{method} /{path} HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n\r\n")
        answer = client.read(head_only=method == "HEAD")

        assert len(answer.body) == (size if method == "GET" else 0)
        assert version == "1.1" or "transfer-encoding" not in answer.headers
        if answer.closes:
            assert client.at_eof()
        else:
            assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("status", ["200", "299_Odd", "404_", "418_I'm_a_teapot", "599_Last"])
def test_any_status_is_sent(wsgi: Served, status: str) -> None:
    with wsgi.client() as client:
        client.ask(f"/status?{status}")
        line = client.read_line().decode()
        assert line.startswith(f"HTTP/1.1 {status[:3]} ")
        assert status[4:].replace("_", " ") in line


@pytest.mark.parametrize("path", ["not-modified", "no-content"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_without_a_body_keeps_the_connection(wsgi: Served, method: str, path: str) -> None:
    with wsgi.client() as client:
        client.request(method, f"/{path}", None, {})
        assert not client.read(head_only=True).closes
        assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_an_endless_response_ends_with_its_client(wsgi: Served, key: str, ending: str) -> None:
    wsgi.mark()
    with wsgi.client() as client:
        client.ask(f"/sends?{key}")
        client.read_head()
        wsgi.wait_noted(f"sent-{key}")
        if ending == "reset":
            reset(client)

    assert wsgi.wait_noted(f"gone-{key}")
    assert wsgi.log() == ""


def test_clients_that_have_gone_free_all_threads(wsgi: Served, key: str) -> None:
    wsgi.mark()
    for number in range(40):
        client = wsgi.client()
        client.send(f"POST /echo?{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n")
        client.send(bytes(300_000))
        reset(client)

    assert [get(wsgi.address, "/hello").text for _ in range(10)] == 10 * ["hello"]
    assert "Traceback" not in wsgi.log()
