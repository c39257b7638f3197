"""The reader of requests: whatever the pieces in which bytes come, it finds the same, in linear time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from sockact.engines.http.head import Request
from sockact.engines.http.reader import RequestReader

QUADRATIC = 5.0
"""Seconds of CPU that 640 KB take only if they are copied again and again."""

HEAD = b"POST / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: h2c\r\n"

Found = list[tuple[Any, ...]]


class Noting:
    """Notes what a reader finds, and asks for the next request after each."""

    def __init__(self) -> None:
        self.found: Found = []
        self.reader = RequestReader(self, 4096, 0)
        self._complete = False

    def feed(self, pieces: Iterable[bytes]) -> Found:
        for piece in pieces:
            self.reader.receive(piece)
            while self._complete:
                self._complete = False
                self.reader.proceed()
        return self.found

    def on_part(self) -> None:
        pass

    def on_request(self, request: Request) -> None:
        self._complete = request.length == 0
        self.found.append((request.method, request.raw_path, tuple(request.headers), request.upgrade))

    def on_body(self, part: bytes) -> None:
        if not isinstance(self.found[-1][0], bytearray):
            self.found.append((bytearray(),))
        self.found[-1][0].extend(part)

    def on_body_end(self) -> None:
        self._complete = True
        self.found.append(("end",))

    def on_bad(self, status: int, _: Request | None) -> None:
        self.found.append((status,))


STREAMS = {
    "pipeline": 3 * (b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab"),
    "empty lines": 2 * (b"\r\n\r\n" + HEAD + b"\r\n"),
    "chunks": 2 * (CHUNKED + b"4\r\n\r\n\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    "upgrade": 2 * (HEAD + UPGRADE + b"Content-Length: 2\r\n\r\nab"),
    "upgrade, in chunks": 2 * (HEAD + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    "any method": b"M-SEARCH * HTTP/1.1\r\nHost: test\r\n\r\n" + 64 * b"X" + HEAD[4:] + b"\r\n",
    "a method that is too long": 65 * b"X" + b" / HTTP/1.1\r\nHost: test\r\n\r\n",
    "a bare LF": HEAD + b"X: y\nZ: z\r\n\r\n",
    "a bare CR": HEAD + b"X: y\rZ: z\r\n\r\n",
    "LF only": b"GET / HTTP/1.1\nHost: test\n\n",
    "a null byte": HEAD + b"X: \0\r\n\r\n",
    "a folded field": HEAD + b"X: y\r\n z\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\nab",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nab",
    "a chunk that is longer": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "chunks with LF": CHUNKED + b"1\na\n0\n\n",
    "a negative chunk": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\nHost: test\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n",
    "a head that is too long": HEAD + b"X: " + 4096 * b"x" + b"\r\n\r\n",
    "trailers that are too long": CHUNKED + b"0\r\nX: " + 4096 * b"x" + b"\r\n\r\n",
}


def cuts(stream: bytes) -> Iterable[Sequence[bytes]]:
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, min(len(stream), 400)):
        yield stream[:at], stream[at:]


@pytest.mark.parametrize("name", STREAMS)
def test_it_finds_the_same_however_the_bytes_are_cut(name: str) -> None:
    stream = STREAMS[name]
    whole = Noting().feed([stream])

    assert whole
    for pieces in cuts(stream):
        assert Noting().feed(pieces) == whole


@pytest.mark.parametrize(
    ("name", "status"), [("a method that is too long", 400), ("another version", 505), ("a bare LF", 400)]
)
def test_it_says_what_it_refuses(name: str, status: int) -> None:
    assert Noting().feed([STREAMS[name]]) == [(status,)]


LINES = 160_000 * b"\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LINES), LINES),
        4000 * (CHUNKED + b"0\r\n\r\n"),
        5000 * (HEAD + b"Content-Length: 1\r\n\r\nx"),
        LINES,
    ],
    ids=["empty lines in a chunk", "chunked bodies", "bodies", "empty lines before a head"],
)
def test_what_comes_at_once_is_read_in_linear_time(data: bytes) -> None:
    begin = time.process_time()
    Noting().feed([data])

    assert time.process_time() - begin < QUADRATIC
