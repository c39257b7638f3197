"""Bounds of time and of size for a client; the others are served meanwhile."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.apps.bounds_app import EARLY
from tests.support.bounds import BRIEF, UPLOAD, wait_reset
from tests.support.http_client import Client
from tests.support.service import Service

AMPLE = 2.0
"""A bound that a client keeps to which does something every PACE seconds."""

PACE = 0.05


def slowly(client: Client, data: bytes, until: Callable[[], bool]) -> int:
    """Send byte by byte until it is enough; return how many were sent."""
    for number, byte in enumerate(data):
        if until():
            return number
        client.send(bytes([byte]))
        time.sleep(PACE)  # that is what a slow client does
    raise AssertionError("not enough bytes")


def for_longer_than(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + 1.5 * seconds
    return lambda: time.monotonic() > end


def answered(client: Client) -> bool:
    return bool(select.select([client.sock], [], [], 0)[0])


# Headers.


@pytest.mark.parametrize("before", ["", "GET / HTTP/1.1\r\nHost: test\r\n\r\n"], ids=["first", "second"])
def test_headers_that_do_not_end_are_answered_408(bounded: Service, before: str) -> None:
    bounded.start(f"--header-timeout={BRIEF}")
    client = bounded.client()
    client.send(before)
    if before:
        assert client.read().status == 200

    client.send("GET / HTTP/1.1\r\nHost: te")

    response = client.read()
    assert (response.status, response.body) == (408, b"Request Timeout")
    assert response.closes
    assert client.at_eof()


def test_a_byte_now_and_then_does_not_help(bounded: Service) -> None:
    bounded.start(f"--header-timeout={BRIEF}")
    client = bounded.client()

    slowly(client, b"GET / HTTP/1.1\r\nX: " + 1000 * b"x", lambda: answered(client))

    assert client.read().status == 408
    assert client.at_eof()


def test_a_connection_without_a_byte_is_closed_without_a_word(bounded: Service) -> None:
    bounded.start(f"--header-timeout={BRIEF}")

    assert bounded.client().at_eof()


def test_an_idle_connection_is_closed_after_keep_alive(bounded: Service) -> None:
    bounded.start(f"--keep-alive={BRIEF}")
    client = bounded.client()

    assert client.get().status == 200
    assert client.at_eof()


def test_what_waits_for_its_turn_has_not_begun_to_be_late(bounded: Service) -> None:
    bounded.start(f"--header-timeout={BRIEF}")
    client, other = bounded.client(), bounded.client()
    client.ask("/late")
    held = bounded.gate.wait()
    client.send("GET / HTTP/1.1\r\nHost: te")
    other.send("GET")
    assert other.read().status == 408  # so long it has been

    client.send("st\r\n\r\n")
    held.release()

    assert [client.read().status, client.read().status] == [200, 200]


# Bodies.


@pytest.mark.parametrize("body", ["", "12345"])
def test_a_body_that_does_not_come_is_answered_408(bounded: Service, body: str) -> None:
    bounded.start(f"--body-timeout={BRIEF}")
    client = bounded.client()

    client.send(UPLOAD + body)

    assert client.read().status == 408
    assert client.at_eof()
    assert bounded.client().get("/seen").body == b"1"


def test_where_the_response_has_begun_the_connection_ends(bounded: Service) -> None:
    bounded.start(f"--body-timeout={BRIEF}")
    client = bounded.client()

    client.send(UPLOAD.replace("/upload", "/begun") + "12345")

    received = b"".join(iter(lambda: client.sock.recv(4096), b""))
    assert received.endswith(b"begun;\r\n")
    assert bounded.client().get("/seen").body == b"1"


def test_a_body_that_goes_on_may_take_as_long_as_it_likes(bounded: Service) -> None:
    bounded.start(f"--body-timeout={AMPLE}s")
    client = bounded.client()
    client.send("POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")

    sent = slowly(client, 1000 * b"x", for_longer_than(AMPLE))
    client.send((1000 - sent) * b"x")

    assert client.read().body == b"1000"


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["too much", "100-continue"])
def test_a_body_that_the_app_does_not_want_yet_is_not_late(bounded: Service, expect: str) -> None:
    bounded.start(f"--body-timeout={BRIEF}")
    size = 1_000_000
    client, other = bounded.client(), bounded.client()
    client.send(f"POST /late HTTP/1.1\r\nHost: test\r\n{expect}Content-Length: {size}\r\n\r\n")
    held = bounded.gate.wait()
    half = b"x" * (0 if expect else size // 2)
    client.send(half)
    other.send(UPLOAD)
    assert other.read().status == 408  # so long it has been

    held.release()
    if expect:
        assert client.read().status == 100
    client.send(b"x" * (size - len(half)))

    assert client.read().body == str(size).encode()


# Reading.


@pytest.mark.parametrize("path", ["/endless", "/early"])
def test_a_client_that_does_not_read_is_reset(bounded: Service, path: str) -> None:
    bounded.start(f"--write-timeout={BRIEF}")
    client = bounded.client()

    client.ask(path)

    wait_reset(client)


def test_a_websocket_that_does_not_read_is_reset(bounded: Service) -> None:
    bounded.start(f"--write-timeout={BRIEF}")
    client = bounded.client()

    client.send(
        "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    wait_reset(client)


def test_a_client_that_reads_on_may_take_as_long_as_it_likes(bounded: Service) -> None:
    bounded.start(f"--write-timeout={AMPLE}s")
    client = bounded.client()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send("GET /early HTTP/1.1\r\nHost: test\r\n\r\n" + "GET / HTTP/1.1\r\nHost: test\r\n\r\n")

    # So little that the kernel's buffer on the other side has no room for more meanwhile.
    enough, begun = for_longer_than(AMPLE), b""
    while not enough():
        begun += client.sock.recv(4096)
        time.sleep(PACE)  # that is what a slow client does

    headers, _, body = begun.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 200")
    rest = EARLY - len(body)
    assert client.read_bytes(rest) == rest * b"e"
    assert client.read().body == b"ok"


def test_a_client_that_goes_after_a_bad_line_behind_its_request_is_no_error(service: Service) -> None:
    service.start()
    with service.client() as client:
        client.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n\0\r\n\r\n")
        held = service.gate.wait()
    for _ in range(2):  # it has noticed by then
        service.accepted()

    held.release()

    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0
    assert "Traceback" not in service.manager.stderr()
