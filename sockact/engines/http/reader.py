"""Reads requests: bytes in; heads, bodies, ends and refusals out. No I/O.

httptools parses. It parses on to the end of what it is given, so it is given no more than one message at a
time: up to the next empty line, or the bytes of a body that are known to follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from sockact.engines.http.head import (
    BARE,
    BEGUN,
    LINE,
    LONGEST_METHOD,
    METHODS,
    Refused,
    Request,
    guessed,
    parsed,
    wrong_line,
)

_END = b"\r\n\r\n"
_BLANK = b"\r\n"
_SLASH = ord("/")


class Sink(Protocol):
    """Takes what a reader has found."""

    def on_part(self) -> None:
        """Called when a part of a head has come."""

    def on_request(self, request: Request) -> None:
        """Called with the head of a request."""

    def on_body(self, part: bytes) -> None:
        """Called with a part of the body."""

    def on_body_end(self) -> None:
        """Called when the body is complete; not called for a request without a body."""

    def on_bad(self, status: int, request: Request | None) -> None:
        """Called when the input is refused; whatever follows is discarded."""


class RequestReader:
    """Reads the requests of a connection, one at a time.

    Args:
        sink: takes what is found.
        max_header_bytes: of one request; infinity for no limit.
        max_body_bytes: of one request; 0 for no limit.

    Attributes:
        rest: the bytes that wait for `proceed`, or for the rest of a head.
        refused: whether the input was refused, and is discarded.
    """

    __slots__ = (
        "_beside",
        "_body",
        "_busy",
        "_chunks",
        "_fields",
        "_left",
        "_max_body",
        "_max_head",
        "_parser",
        "_searched",
        "_sink",
        "_tail",
        "_trailers",
        "_waiting",
        "refused",
        "rest",
    )

    def __init__(self, sink: Sink, max_header_bytes: float, max_body_bytes: int) -> None:
        self._sink = sink
        self._max_head = max_header_bytes
        self._max_body = max_body_bytes
        self._parser: Any = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._waiting = False  # for `proceed`
        self._busy = False
        self._chunks: Chunks | None = None
        self._left: int | None = None  # bytes of the body to come; None: no body; -1: chunked
        self._body = 0
        self._beside = 0  # bytes since the last ones of a body
        self._trailers = 0
        self._searched = 0
        self._tail = b""
        self.rest = bytearray()
        self.refused = False

    def receive(self, data: bytes) -> None:
        """Take what has come."""
        if self.refused:
            return
        if self._waiting or self.rest:
            self.rest += data
            if not self._waiting:
                self._read_rest()
        elif self._left is not None and self._size_in_body(data) == len(data):
            self._read_body(data)
        elif self._left is None and data[0] not in _BLANK and (end := data.find(_END) + 4) > 3:
            if end == len(data):
                self._read_head(data)  # as most requests come
            else:
                self._read_head_and_more(data, end)
        else:
            self.rest += data
            self._read_rest()

    def _read_head_and_more(self, data: bytes, end: int) -> None:
        """Read a head, and what has come with it: mostly a body, which is not copied again."""
        self._busy = True
        self._read_head(data[:end])
        self._busy = False
        if (
            self._left is not None
            and not self.refused
            and self._size_in_body(data[end:]) == len(data) - end
        ):
            self._read_body(data[end:])
        elif not self.refused:
            self.rest += data[end:]
            if not self._waiting:
                self._read_rest()

    def wait(self, rest: bytes) -> None:
        """Begin amid a request, behind which this has come."""
        self._waiting = True
        self.rest += rest

    def proceed(self) -> bool:
        """Go on to the next request; return False if this is called from within, and reading goes on."""
        self._waiting = False
        if self._busy:
            return False
        if self.rest:
            self._read_rest()
        return True

    def discard(self) -> None:
        """Discard what comes from now on."""
        self.refused = True
        self.rest.clear()

    def _refuse(self, status: int, request: Request | None = None) -> None:
        """Refuse the input; `request` is what is known of it."""
        if not self.refused:
            self.discard()
            self._sink.on_bad(status, request)

    @property
    def has_another(self) -> bool:
        """Return whether the head of another request waits."""
        return _END in self.rest

    def _read_rest(self) -> None:
        self._busy = True
        while self.rest and not self._waiting and not self.refused:
            if self._left is not None:
                # Piece by piece from the front, which is cheap: there may be an empty line every 4 bytes.
                size = self._size_in_body(self.rest)
                part = bytes(memoryview(self.rest)[:size])
                del self.rest[:size]
                self._read_body(part)
            elif not self._take_head():
                break
        self._busy = False

    # Heads.

    def _take_head(self) -> bool:
        """Read a head from what waits; return whether there may be more to read."""
        rest, searched = self.rest, self._searched
        if not searched and rest[0] in _BLANK:  # empty lines before a head: RFC 9112, section 2.2
            if rest.startswith(b"\r\n"):
                del rest[:2]
                return True
            if rest == b"\r":
                return False
        end = rest.find(_END, max(searched - 3, 0))
        if end < 0:
            self._searched = len(rest)
            self._look_at_part(searched)
            return False
        head = bytes(memoryview(rest)[: end + 4])
        del rest[: end + 4]
        self._searched = 0
        self._read_head(head)
        return True

    def _look_at_part(self, begin: int) -> None:
        """Refuse a part of a head if no head can come of it; it was looked at up to `begin`."""
        rest = self.rest
        if BARE.search(rest, max(begin - 1, 0)):
            self._refuse(400, guessed(rest))
        elif begin <= LONGEST_METHOD or rest.find(b"\n", begin) >= 0:
            end = rest.find(b"\r\n")
            if (LINE.match(rest) if end >= 0 else BEGUN.fullmatch(rest)) is None:
                self._refuse(wrong_line(rest), guessed(rest))
            elif len(rest) > self._max_head:
                self._refuse(431, guessed(rest))
            elif not begin:
                self._sink.on_part()
        elif len(rest) > self._max_head:
            self._refuse(431, guessed(rest))

    def _read_head(self, head: bytes) -> None:
        line = LINE.match(head)
        if line is None or len(head) > self._max_head:
            self._refuse(wrong_line(head) if line is None else 431, guessed(head))
            return
        if line[3] != b"1":
            self._refuse(505, guessed(head))
            return
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(_as_known(line, head))
        except httptools.HttpParserUpgrade:
            self._parser = None  # for it, another protocol follows
        except httptools.HttpParserError:
            self._refuse(400, guessed(head))
            return
        try:
            request = parsed(line, fields, self._max_body)
        except Refused as refused:
            self._refuse(refused.status, refused.request)
            return
        if request.length == 0:
            self._waiting = True
        else:
            self._begin_body(request.length)
        self._sink.on_request(request)

    # Bodies.

    def _begin_body(self, length: int | None) -> None:
        self._parser = None  # it waits for a body, and is not given one
        if length is None:
            self._left = -1
            self._chunks = Chunks(self._on_body, self._on_trailer)
            self._tail = b""
            self._body = self._trailers = self._beside = 0
        else:
            self._left = length

    def _read_body(self, part: bytes) -> None:
        """Read a part of the body, behind which the message may end."""
        left = self._left
        assert left is not None
        if left > 0:
            left -= len(part)
            self._left = left
            self._sink.on_body(part)
        else:
            self._tail = part[-3:] if len(part) > 2 else (self._tail + part)[-3:]
            assert self._chunks is not None
            self._beside += len(part)
            try:
                left = 0 if self._chunks.feed(part) else left
            except httptools.HttpParserError:
                self._refuse(400)
                return
            if self._beside > self._max_head:
                # A chunk whose extension has no end; one that comes whole in one read is bounded by that.
                self._refuse(431)
        if left == 0 and not self.refused:
            self._left = self._chunks = None
            self._waiting = True
            self._sink.on_body_end()

    def _size_in_body(self, data: bytes | bytearray) -> int:
        """Return how much of the data belongs to the message at least."""
        left = self._left
        assert left is not None
        if left > 0:
            return min(left, len(data))
        tail = self._tail  # which may be the begin of the empty line that ends the message
        end = (tail + data[:3]).find(_END)
        if end >= 0:
            return end + 4 - len(tail)
        end = data.find(_END)
        return len(data) if end < 0 else end + 4

    # Called by the parsers.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a head."""
        # The parser leaves the blanks behind a value, which are no part of it: RFC 9112, section 5.1.
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def _on_body(self, part: bytes) -> None:
        self._body += len(part)
        self._beside = 0
        if self._max_body and self._body > self._max_body:
            self._refuse(413)
        elif not self.refused:
            self._sink.on_body(part)

    def _on_trailer(self, size: int) -> None:
        self._trailers += size
        if self._trailers > self._max_head:
            self._refuse(431)


class Chunks:
    """The chunks of a body.

    Trailers are no headers: a client could forge there what only a proxy may say. They are checked, and
    dropped.

    Args:
        body: called with each part of the body.
        trailer: called with the length of each trailer.
    """

    def __init__(self, body: Callable[[bytes], None], trailer: Callable[[int], None]) -> None:
        self.on_body = body
        self._trailer = trailer
        self._begun = self._complete = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
        self._begun = True

    def feed(self, data: bytes) -> bool:
        """Parse data; return whether the body is complete. Raises HttpParserError."""
        self._parser.feed_data(data)
        return self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a trailer."""
        if self._begun:
            self._trailer(len(name) + len(value) + 4)

    def on_message_complete(self) -> None:
        """Note that the body is complete."""
        self._complete = True


def _as_known(line: re.Match[bytes], head: bytes) -> bytes:
    """Return a head with a method, target and version that the parser knows."""
    target = line[2]
    if line[1] in METHODS and line[4] in b"01" and target[0] == _SLASH and target.isascii():
        return head
    return b"POST / HTTP/1.%d\r\n" % (line[4] != b"0") + head[line.end() :]
