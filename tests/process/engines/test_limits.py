"""Limits on what a client sends, and on the number of clients."""

from __future__ import annotations

import socket
import struct
from http import HTTPStatus

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import Client
from tests.support.manager import wait_until
from tests.support.service import Service

MOST = 1000


def request(size: int, line: str = "GET / HTTP/1.1") -> bytes:
    """Return a request whose headers have so many bytes, with those that end them."""
    begin = f"{line}\r\nHost: test\r\nX-Large: "
    return (begin + "x" * (size - len(begin) - 4) + "\r\n\r\n").encode()


def upload(size: int, *, chunked: bool = False) -> bytes:
    """Return the headers of a request with a body, and if it is chunked the body, without its end."""
    if chunked:
        first, second = size // 2, size - size // 2
        body = f"{first:x}\r\n{'b' * first}\r\n{second:x}\r\n{'b' * second}\r\n"
        return f"POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode()
    return f"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode()


# Headers.


@pytest.mark.parametrize("piece", [1, 400, 4096], ids="in pieces of {}".format)
def test_headers_may_have_so_many_bytes_and_no_more(bounded: Service, piece: int) -> None:
    bounded.start(f"--max-header-bytes={MOST}")
    client = bounded.client()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(data: bytes) -> int:
        for start in range(0, len(data), piece):
            client.send(data[start : start + piece])
        return client.read().status

    assert [send(request(MOST)), send(request(MOST)), send(request(MOST + 1))] == [200, 200, 431]
    assert client.at_eof()


@pytest.mark.parametrize(
    "endless",
    [b"GET /?" + 8 * MOST * b"x", request(MOST)[:-4] + 8 * MOST * b"x", 8 * MOST * b"X: y\r\n"],
    ids=["path", "field", "fields"],
)
@pytest.mark.parametrize("before", [0, 1, 40], ids="after {}".format)
def test_headers_that_are_too_long_need_not_end(bounded: Service, endless: bytes, before: int) -> None:
    bounded.start(f"--max-header-bytes={MOST}")
    client = bounded.client()

    if endless.startswith(b"X"):
        endless = b"GET / HTTP/1.1\r\n" + endless
    client.send(before * request(200) + endless)

    assert [client.read().status for _ in range(before)] == before * [200]
    assert client.read().status == 431
    assert client.at_eof()


def test_the_default_is_64_kib(bounded: Service) -> None:
    bounded.start()
    client = bounded.client()

    client.send(request(65536))
    assert client.read().status == 200
    client.send(request(65537))
    assert client.read().status == 431


def test_the_answer_to_head_has_no_body(bounded: Service) -> None:
    bounded.start(f"--max-header-bytes={MOST}")

    client = bounded.client()
    client.send(request(MOST + 1, "HEAD / HTTP/1.1"))

    received = b"".join(iter(lambda: client.sock.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert received.endswith(b"\r\n\r\n")


def test_trailers_are_headers(bounded: Service) -> None:
    bounded.start(f"--max-header-bytes={MOST}")
    client = bounded.client()

    client.send(upload(10, chunked=True) + b"0\r\n" + b"X: y\r\n" * MOST)

    assert client.read().status == 431
    assert bounded.client().get("/seen").body == b"1"


# Bodies.


def test_a_body_that_says_it_is_too_large_need_not_come(bounded: Service) -> None:
    bounded.start(f"--max-body-bytes={MOST}", "--access-log")
    client = bounded.client()

    client.send(upload(MOST) + b"b" * MOST)
    assert client.read().body == str(MOST).encode()
    client.send(upload(MOST + 1))

    response = client.read()
    assert (response.status, response.body) == (413, HTTPStatus(413).phrase.encode())
    assert response.closes
    assert client.at_eof()
    assert bounded.client().get("/seen").body == b"0"
    assert '"POST /upload HTTP/1.1" 413' in bounded.manager.stderr()


def test_a_body_that_says_nothing_is_counted(bounded: Service) -> None:
    bounded.start(f"--max-body-bytes={MOST}")
    client = bounded.client()

    client.send(upload(MOST, chunked=True) + b"0\r\n\r\n")
    assert client.read().body == str(MOST).encode()
    client.send(upload(MOST + 1, chunked=True))

    assert client.read().status == 413
    assert client.at_eof()
    assert bounded.client().get("/seen").body == b"1"


def test_responses_under_way_come_first(bounded: Service) -> None:
    bounded.start(f"--max-body-bytes={MOST}")
    client = bounded.client()

    client.ask("/late")
    held = bounded.gate.wait()
    client.send(request(100) + upload(MOST + 1))
    held.release()

    assert [client.read().status for _ in range(3)] == [200, 200, 413]
    assert client.at_eof()


def test_nonsense_does_not_break_into_a_response_under_way(bounded: Service) -> None:
    bounded.start()
    client = bounded.client()

    client.ask("/late")
    held = bounded.gate.wait()
    client.send("nonsense\r\n\r\n")
    held.release()

    assert [client.read().status, client.read().status] == [200, 400]
    assert client.at_eof()


# Connections.


def waiting(listener: Listener) -> int:
    """Return how many connections wait in the queue."""
    assert listener.sock is not None
    info = listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("I", info, 24)[0])  # tcpi_unacked: of a listener, its queue


def serve_raw(service: Service) -> None:
    """Put a handler of connections in the place of the app: it answers each line with `ok`."""
    (service.directory / "app.py").write_text(
        "async def app(reader, writer):\n"
        "    while await reader.readline():\n"
        "        writer.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n')\n"
    )


@pytest.mark.parametrize("raw", [False, True], ids=["app", "handler"])
def test_those_who_are_too_many_wait_in_the_queue(bounded: Service, raw: bool) -> None:
    if raw:
        serve_raw(bounded)
    bounded.start("--max-connections=2")
    ask = "line\n" if raw else "GET / HTTP/1.1\r\nHost: test\r\n\r\n"

    def answered(client: Client) -> bool:
        client.send(ask)
        return client.read().status == 200

    first, second = bounded.client(), bounded.client()
    assert answered(first)
    assert answered(second)
    third, fourth = bounded.client(), bounded.client()
    third.send(ask)
    fourth.send(ask)
    wait_until(lambda: waiting(bounded.listener) == 2)
    for _ in range(100):
        assert answered(first)
        assert waiting(bounded.listener) == 2

    first.close()
    assert third.read().status == 200
    assert waiting(bounded.listener) == 1
    second.close()
    third.close()
    assert fourth.read().status == 200
