"""WSGI apps, as PEP 3333 has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, connect, get
from tests.support.manager import LIMIT, Manager, wait_until

APP = """
import sys

def fails(environ, start_response):
    return 1 / 0

def late(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    yield b""
    try:
        1 / 0
    except ZeroDivisionError:
        start_response("503 Sorry", [("Content-Length", "5")], sys.exc_info())
    yield b"sorry"

def too_late(environ, start_response):
    start_response("200 OK", [("Content-Length", "50")])
    yield b"begun"
    try:
        1 / 0
    except ZeroDivisionError:
        start_response("503 Sorry", [], sys.exc_info())
    yield b"never"

def text(environ, start_response):
    start_response("200 OK", [])
    return "a text with more letters than wait at a time"

def long(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"abc"] * 20

def writes(environ, start_response):
    write = start_response("200 OK", [])
    write(b"written, ")
    return [b"returned"]

def empty(environ, start_response):
    start_response("200 OK", [("X-Empty", "yes")])
    return []

def forgets(environ, start_response):
    return [b"no head"]

def lines(environ, start_response):
    source = environ["wsgi.input"]
    start_response("200 OK", [])
    return [repr([source.readline(3), source.readline(), source.readlines(), source.read()]).encode()]

def header(environ, start_response):
    start_response("200 OK", [])
    return [environ["HTTP_X_USER"].encode()]

def upload(environ, start_response):
    assert environ["wsgi.input_terminated"]
    try:
        body = environ["wsgi.input"].read()
    except OSError as error:
        body = b""
        open("error", "x").write(type(error).__name__)
    start_response("200 OK", [])
    return [body]

def app(environ, start_response):
    return globals()[environ["PATH_INFO"].lstrip("/")](environ, start_response)
"""


@pytest.fixture
def wsgi(manager: Manager, listener: Listener) -> Listener:
    """Give the listener on which the apps above are served, by a single thread."""
    Path("app.py").write_text(APP)
    manager.sockact("app:app", "--threads=1", listeners=[listener])
    manager.wait_ready()
    return listener


def address(listener: Listener) -> tuple[str, int]:
    assert listener.sock is not None
    host, port = listener.sock.getsockname()
    return host, port


@pytest.mark.parametrize("path", ["/text", "/long"])
def test_a_response_that_cannot_be_sent_is_a_500(wsgi: Listener, path: str) -> None:
    with Client(address(wsgi)) as client:
        assert client.get(path).status == 500
        assert client.get("/writes").body == b"written, returned"


def test_a_response_that_fails_amid_its_body_is_reset_and_frees_its_thread(wsgi: Listener) -> None:
    with connect(wsgi) as client:
        client.sendall(b"GET /too_late HTTP/1.1\r\nHost: test\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: client.recv(4096), b""))

    assert get(wsgi, "/writes").text == "written, returned"


def test_until_the_first_part_a_response_may_begin_anew(wsgi: Listener) -> None:
    with Client(address(wsgi)) as client:
        answer = client.get("/late")
        assert (answer.status, answer.body, answer.closes) == (503, b"sorry", False)
        assert client.get("/empty").headers["x-empty"] == "yes"


@pytest.mark.parametrize("path", ["/forgets", "/fails"])
def test_an_app_that_begins_no_response_is_answered_with_500(wsgi: Listener, path: str) -> None:
    assert get(wsgi, path).status == 500


def test_a_body_is_read_by_lines(wsgi: Listener) -> None:
    found = get(wsgi, "/lines", method="POST", body=b"first\nsecond\nthird\n").text

    assert found == repr([b"fir", b"st\n", [b"second\n", b"third\n"], b""])


def test_a_header_cannot_pass_for_another(wsgi: Listener) -> None:
    assert get(wsgi, "/header", headers={"X_User": "anybody", "X-User": "told-by-the-proxy"}).text == (
        "told-by-the-proxy"
    )


def test_curl_that_would_rather_speak_http_2_is_served(wsgi: Listener) -> None:
    url = f"http://{wsgi.address}/upload"
    command = ["curl", "--silent", "--show-error", "--http2", "--data-binary", "hello", url, url]

    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)

    assert done.stdout == "hellohello"


CHUNKED = "POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


def test_a_chunked_body_has_an_end(wsgi: Listener) -> None:
    with Client(address(wsgi)) as client:
        client.send(f"{CHUNKED}4\r\nhalf\r\n0\r\n\r\n")

        assert client.read().body == b"halfhalf"


def test_half_a_body_does_not_pass_for_a_whole_one(wsgi: Listener) -> None:
    with connect(wsgi) as client:
        client.sendall(CHUNKED.encode())
        client.sendall(b"40000\r\n" + 0x40000 * b"x" + b"\r\n")  # more than is buffered

    assert (
        wait_until(lambda: Path("error").exists() and Path("error").read_text()) == "ConnectionResetError"
    )
