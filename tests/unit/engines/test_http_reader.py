"""Requests are found in bytes, however these are cut; whatever is no request is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sockact.engines.http.head import Request
from sockact.engines.http.reader import RequestReader

HOST = b"Host: test\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


class Found:
    """Notes what a reader finds, and reads on at once."""

    def __init__(self, max_header_bytes: float = math.inf, max_body_bytes: int = 0) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.status = 0
        self.reader = RequestReader(self, max_header_bytes, max_body_bytes)

    def on_part(self) -> None: ...

    def on_request(self, request: Request) -> None:
        self.requests.append(request)
        self.bodies.append(b"")
        if request.length == 0:
            self.reader.proceed()

    def on_body(self, part: bytes) -> None:
        self.bodies[-1] += part

    def on_body_end(self) -> None:
        self.reader.proceed()

    def on_bad(self, status: int, _request: Request | None) -> None:
        self.status = status


def read(data: bytes, size: int = 100_000, **limits: Any) -> Found:
    found = Found(**limits)
    for start in range(0, len(data), size):
        found.reader.receive(data[start : start + size])
    return found


def everywhere(data: bytes, **limits: Any) -> Found:
    """Read data at once, and in pieces of every size; fail unless the same is found."""
    whole = read(data, **limits)
    for size in (*range(1, 12), 50, len(data) - 1):
        cut = read(data, max(size, 1), **limits)
        assert (cut.status, cut.bodies) == (whole.status, whole.bodies), size
        assert [each.target for each in cut.requests] == [each.target for each in whole.requests]
    return whole


GET = b"GET /%d HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = b"POST /1 HTTP/1.1\r\n" + HOST + b"%bTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (GET % 1 + GET % 2, [b"", b""]),
        (b"\r\n\r\n" + GET % 1 + b"\r\n" + GET % 2, [b"", b""]),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello" + GET % 2, [b"hello", b""]),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n\r\n\r\n" + GET % 2,
            [b"\r\n\r\n", b""],
        ),
        (CHUNKED % b"" + b"5\r\nhello\r\n0\r\n\r\n" + GET % 2, [b"hello", b""]),
        (
            CHUNKED % b"" + b"6\r\n\r\n\r\n\r\n\r\n1;a=b\r\nx\r\n0\r\nX: y\r\n\r\n" + GET % 2,
            [b"\r\n\r\n\r\nx", b""],
        ),
        (CHUNKED % UPGRADE + b"5\r\nhello\r\n0\r\n\r\n" + GET % 2, [b"hello", b""]),
        (b"PUT / HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 2\r\n\r\nhi" + GET % 2, [b"hi", b""]),
        (b"GET / HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n" + GET % 2, [b"", b""]),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET % 2, [b"", b""]),
        (b"BREW /pot HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi" + GET % 2, [b"hi", b""]),
    ],
)
def test_requests_are_found(data: bytes, bodies: list[bytes]) -> None:
    found = everywhere(data)

    assert (found.status, found.bodies) == (0, bodies)


def test_thousands_of_pipelined_upgrades_are_read_without_recursion() -> None:
    one = b"POST / HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 2\r\n\r\nhi"

    assert len(read(5000 * one).requests) == 5000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /a?b=%20c HTTP/1.1", ("GET", b"/a", b"b=%20c", "1.1")),
        (b"GET /? HTTP/1.1", ("GET", b"/", b"", "1.1")),
        (b"GET http://example.org:80/a?b HTTP/1.1", ("GET", b"/a", b"b", "1.1")),
        (b"GET http://example.org HTTP/1.1", ("GET", b"/", b"", "1.1")),
        (b"GET http://example.org?b HTTP/1.1", ("GET", b"/", b"b", "1.1")),
        (b"OPTIONS * HTTP/1.1", ("OPTIONS", b"*", b"", "1.1")),
        (b"GET /\xc3\xa9 HTTP/1.1", ("GET", b"/\xc3\xa9", b"", "1.1")),
        (b"X!# / HTTP/1.1", ("X!#", b"/", b"", "1.1")),
        (b"GET / HTTP/1.0", ("GET", b"/", b"", "1.0")),
        (b"GET / HTTP/1.7", ("GET", b"/", b"", "1.1")),  # RFC 9110, section 2.5
    ],
)
def test_a_request_line_is_understood(line: bytes, expected: tuple[Any, ...]) -> None:
    (request,) = everywhere(line + b"\r\n" + HOST + b"\r\n").requests

    assert (request.method, request.raw_path, request.query, request.version) == expected


def test_the_host_of_an_absolute_target_counts() -> None:
    (request,) = read(b"GET http://example.org/ HTTP/1.1\r\nHost: other\r\n\r\n").requests

    assert request.headers == [(b"host", b"example.org")]


@pytest.mark.parametrize("fields", [b"", b"Host: other\r\nHost: other\r\n", b"Host: a b\r\n"])
def test_a_target_with_a_host_does_not_make_up_for_a_wrong_host_field(fields: bytes) -> None:
    found = everywhere(b"GET http://example.org/ HTTP/1.1\r\n" + fields + b"\r\n")

    assert (found.status, found.requests) == (400, [])


def test_http_1_0_needs_no_host_field_beside_one_in_the_target() -> None:
    (request,) = everywhere(b"GET http://example.org/ HTTP/1.0\r\n\r\n").requests

    assert request.headers == [(b"host", b"example.org")]


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    (request,) = everywhere(
        b"POST / HTTP/1.1\r\nHost: \t a \t\r\nExpect:100-continue \r\n"
        b"Content-Length: 2\t \r\nX: \t\r\n\r\nhi"
    ).requests

    assert request.headers == [
        (b"host", b"a"),
        (b"expect", b"100-continue"),
        (b"content-length", b"2"),
        (b"x", b""),
    ]
    assert request.expects


BAD_LINES = {
    b"GET  / HTTP/1.1": 400,
    b"GET /a b HTTP/1.1": 400,
    b"GET\t/ HTTP/1.1": 400,
    b" GET / HTTP/1.1": 400,
    b"GET / HTTP/1.1 ": 400,
    b"GET /": 400,
    b"GET / HTTP/1": 505,
    b"GET / HTTP/2.0": 505,
    b"PRI * HTTP/2.0": 505,
    b"GET / HTTP/0.9": 505,
    b"GET / http/1.1": 400,
    b"GET / RTSP/1.0": 400,
    b"G\0T / HTTP/1.1": 400,
    b"GET /\x7f HTTP/1.1": 400,
    b"GET * HTTP/1.1": 400,
    b"GET a HTTP/1.1": 400,
    b"GET http:///a HTTP/1.1": 400,
    b"CONNECT example.org:443 HTTP/1.1": 501,
    b"\x16\x03\x01\x02\x00": 400,
    65 * b"G" + b" / HTTP/1.1": 400,
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_request_line_that_is_none_is_refused(line: bytes) -> None:
    assert read(line + b"\r\n" + HOST + b"\r\n").status == BAD_LINES[line]
    for size in (1, 3):
        assert read(line + b"\r\n" + HOST + b"\r\n", size).status in (BAD_LINES[line], 400)


BAD_FIELDS = {
    b"": 400,  # no Host
    b"Host: a\r\nHost: a\r\n": 400,
    b"Host: a b\r\n": 400,
    b"Host: a/b\r\n": 400,
    b"Host: a:b\r\n": 400,
    HOST + b"A: b\r\n c\r\n": 400,
    HOST + b"A : b\r\n": 400,
    HOST + b"A: b\rc\r\n": 400,
    HOST + b"A: b\0c\r\n": 400,
    HOST + b"A\r\n": 400,
    HOST + b": b\r\n": 400,
    HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n": 400,
    HOST + b"Content-Length: +1\r\n": 400,
    HOST + b"Content-Length: 1, 1\r\n": 400,
    HOST + b"Content-Length: " + 30 * b"9" + b"\r\n": 400,
    HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n": 400,
    HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n": 400,
    HOST + b"Transfer-Encoding: chunked, gzip\r\n": 400,
    HOST + b"Transfer-Encoding: chunked, chunked\r\n": 400,
    HOST + b"Transfer-Encoding: x\r\n" + UPGRADE: 400,
    HOST + b"Transfer-Encoding: gzip, chunked\r\n": 501,
    HOST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n": 501,
}


@pytest.mark.parametrize("fields", BAD_FIELDS)
def test_ambiguous_fields_are_refused(fields: bytes) -> None:
    found = read(b"POST / HTTP/1.1\r\n" + fields + b"\r\n0\r\n\r\n")

    assert (found.status, found.requests) == (BAD_FIELDS[fields], [])


@pytest.mark.parametrize("value", [b"", b"a:", b"a:80", b"[::1]", b"[::1]:80", b"a_b", b"xn--a.example"])
def test_a_host_may_be(value: bytes) -> None:
    assert read(b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n").status == 0


def test_http_1_0_has_no_transfer_coding() -> None:
    assert read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("version", "field", "persistent"),
    [
        ("1.1", b"", True),
        ("1.1", b"Connection: keep-alive\r\n", True),
        ("1.1", b"Connection: Close\r\n", False),
        ("1.1", b"Connection: keep-alive, close\r\n", False),
        ("1.1", b"Connection: close\r\nConnection: keep-alive\r\n", False),
        ("1.0", b"", False),
        ("1.0", b"Connection: Keep-Alive\r\n", True),
        ("1.0", b"Connection: close, keep-alive\r\n", False),
    ],
)
def test_a_connection_persists_as_its_client_says(version: str, field: bytes, persistent: bool) -> None:
    (request,) = read(b"GET / HTTP/%b\r\n" % version.encode() + HOST + field + b"\r\n").requests

    assert request.persistent is persistent


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"5\r\nhelloX\r\n", b"-1\r\n", b"\r\n", b"5 5\r\n", b"1\nx\n0\n\n"]
)
def test_chunks_that_are_none_are_refused(body: bytes) -> None:
    assert read(CHUNKED % b"" + body).status == 400


def test_a_head_may_have_so_many_bytes() -> None:
    head = GET % 1
    long = b"GET /" + 50 * b"x"

    assert everywhere(head, max_header_bytes=len(head)).status == 0
    assert everywhere(head, max_header_bytes=len(head) - 1).status == 431
    assert everywhere(long, max_header_bytes=40).status == 431


def test_trailers_are_bounded_as_a_head_is() -> None:
    data = CHUNKED % b"" + b"1\r\nx\r\n0\r\n" + 20 * b"X: yyyyy\r\n" + b"\r\n"

    assert read(data, max_header_bytes=100).status == 431
    assert read(data, max_header_bytes=1000).status == 0


@pytest.mark.parametrize(
    "head", [b"Content-Length: 6\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n"]
)
def test_a_body_is_bounded(head: bytes) -> None:
    data = b"POST / HTTP/1.1\r\n" + HOST + head

    assert read(data, max_body_bytes=6).status == 0
    assert read(data, max_body_bytes=5).status == 413


def test_the_next_request_waits() -> None:
    class Waiting(Found):
        def on_request(self, request: Request) -> None:
            self.requests.append(request)

    waiting = Waiting()
    waiting.reader.receive(GET % 1 + GET % 2 + GET % 3)
    counts = [len(waiting.requests)]
    for _ in range(2):
        waiting.reader.proceed()
        counts.append(len(waiting.requests))

    assert counts == [1, 2, 3]
    assert not waiting.reader.has_another
