"""Responses as bytes: the head, the framing of the body, and the checks of what an app sends. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

Fields = Iterable[tuple[bytes, bytes]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status: b"HTTP/1.1 %d \r\n" % status for status in range(100, 600)}
_STATUS_LINES |= {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OURS = frozenset((b"content-length", b"transfer-encoding", b"connection", b"date"))

_NAMES: dict[bytes, bytes] = {}
"""Names of fields that were checked, and the same in lower case."""

MAX_NAMES = 1024
"""Most names that are remembered: an app may make them up."""

_HEADS: dict[tuple[Any, ...], bytes] = {}
"""Heads without our own fields, by status, length of the body, and the app's fields: most are repeated."""

MAX_HEADS = 512
MAX_HEAD_BYTES = 2048
"""Most heads that are remembered, and most bytes of one."""


class WrongResponse(Exception):  # noqa: N818 - the app's fault, not an error of ours
    """A response of the app's that cannot be sent."""


class HttpResponse:
    """One response: made into bytes, and checked.

    Args:
        method: the request's; HEAD has no body.
        version: the client's HTTP version.
        persistent: whether the client may send another request on the connection.

    Attributes:
        last: whether it is the last one of its connection.
        begun: whether its head has been sent.
        complete: whether all of it has been sent.
        status: its status; 0 before it is known.
        reason: its phrase; empty for the standard one.
        size: the bytes of its body that were sent in parts; of a whole one, if there is an access log.
        fields: the app's header fields, if the access log has some of them.
    """

    begun = False
    complete = False
    reason = b""
    status = 0
    size = 0
    fields: Fields = ()
    _head_only = False
    _old = False
    # Set with the head.
    _bodyless = False
    _chunked: bool
    _dated: bool
    _left: int  # bytes of the body to come; negative: unknown
    _length: bytes | None

    def __init__(self, method: str, version: str, *, persistent: bool) -> None:
        self.last = not persistent
        if method == "HEAD":
            self._head_only = True
        if version == "1.0":
            self._old = True

    def whole(self, status: int, fields: Fields, body: bytes, always: bytes) -> bytes:
        """Return a response whose body is known; raises WrongResponse."""
        if self.last or self._head_only or self._old or self.reason:
            return self._whole(status, fields, body, always)
        key: tuple[Any, ...] = (status, len(body), *fields)
        try:
            head = _HEADS.get(key)
        except TypeError:  # fields that are lists
            return self._whole(status, fields, body, always)
        if head is None:
            data = self._whole(status, fields, body, always)
            self._remember(key, data[: len(data) - len(body) - len(always) - 2])
            return data
        data = b"%b%b\r\n%b" % (head, always, body)
        self.status = status
        self.begun = self.complete = True
        return data

    def _remember(self, key: tuple[Any, ...], head: bytes) -> None:
        """Remember the head of a plain response: with a body of this length, and our Date."""
        if self.last or self._bodyless or self._dated or len(head) > MAX_HEAD_BYTES:
            return
        if len(_HEADS) >= MAX_HEADS:
            _HEADS.clear()
        _HEADS[key] = head

    def _whole(self, status: int, fields: Fields, body: bytes, always: bytes) -> bytes:
        head = self._head(status, fields, always, len(body))
        if self._bodyless:
            self._left = 0
        elif self._left != len(body):
            raise WrongResponse(f"a body of {len(body)} bytes: expected {self._left}, its Content-Length")
        data = head if self._bodyless else head + body
        self.begun = self.complete = True
        return data

    def begin(self, status: int, fields: Fields, always: bytes, part: bytes = b"") -> bytes:
        """Return the head of a response, and the first part of its body; raises WrongResponse."""
        data = self._head(status, fields, always, None) + self.part(part)
        self.begun = True
        return data

    def part(self, data: bytes) -> bytes:
        """Return a part of the body as it is sent; raises WrongResponse."""
        if self._bodyless or not data:
            return b""
        self.size += len(data)
        if self._left >= 0:
            if len(data) > self._left:
                raise WrongResponse("a longer body than its Content-Length")
            self._left -= len(data)
            return data
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def sent(self, size: int) -> None:
        """Count bytes of the body that were sent without `part`, from a file; raises WrongResponse."""
        self.size += size
        if self._left >= 0:
            if size > self._left:
                raise WrongResponse("a longer body than its Content-Length")
            self._left -= size

    @property
    def has_end(self) -> bool:
        """Return whether the client can tell the end of the response from its framing."""
        return self.begun and (self._chunked or self._left >= 0)

    @property
    def framed(self) -> bool:
        """Return whether the body is sent in chunks."""
        return self._chunked

    @property
    def bodyless(self) -> bool:
        """Return whether no body is sent."""
        return self._bodyless

    def end(self, trailers: Fields = ()) -> bytes:
        """Return the end of a response; raises WrongResponse."""
        if self._left > 0 and not self._bodyless:
            raise WrongResponse(f"a body that is {self._left} bytes shorter than its Content-Length")
        self.complete = True
        if not self._chunked or self._bodyless:
            return b""
        lines = [b"%b: %b\r\n" % (_name(name), value) for name, value in trailers]
        return b"0\r\n" + _checked(b"".join(lines), len(lines)) + b"\r\n"

    def _head(self, status: int, fields: Fields, always: bytes, size: int | None) -> bytes:
        """Return the head.

        Args:
            status: of the response.
            fields: the app's.
            always: our fields, as bytes; the first one is the Date.
            size: the length of the body; None if it is not known.
        """
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise WrongResponse(f"status {status!r}: expected 200 to 599")
        line = b"HTTP/1.1 %d %b\r\n" % (status, self.reason) if self.reason else _STATUS_LINES[status]
        self.status = status
        self._bodyless = self._head_only or status in (204, 304)
        self._chunked = self._dated = False
        self._length = None
        lines = [line]
        for name, value in fields:
            lower = _NAMES.get(name) or _name(name)
            if lower not in _OURS or (value := self._ours(lower, value)):
                lines.append(b"%b: %b\r\n" % (name, value))
        head = _checked(b"".join(lines), len(lines)) + self._framing(size)
        if self._dated:
            always = always.partition(b"\r\n")[2]
        if self.last:
            return b"%b%bconnection: close\r\n\r\n" % (head, always)
        if self._old:
            return b"%b%bconnection: keep-alive\r\n\r\n" % (head, always)
        return b"%b%b\r\n" % (head, always)

    def _ours(self, name: bytes, value: bytes) -> bytes:
        """Take note of a field that is ours to send, and return what is left of it."""
        if name == b"content-length":
            if not value.isdigit() or (self._length is not None and int(self._length) != int(value)):
                raise WrongResponse(f"Content-Length: {value!r}: expected one number")
            self._length = value
        elif name == b"connection":
            return self._connection(value)
        elif name == b"date":
            self._dated = True
            return value
        return b""  # as for Transfer-Encoding: the framing is ours

    def _framing(self, size: int | None) -> bytes:
        """Return the field that tells the length of the body."""
        self._left = -1
        if self._length is not None and self.status != 204:
            self._left = int(self._length)
            return b"content-length: %b\r\n" % self._length
        if size is not None and (not self._bodyless or (size and self.status not in (204, 304))):
            self._left = size
            return b"content-length: %d\r\n" % size
        if self._bodyless:
            return b""
        if self._old:
            self.last = True  # the end of the connection is the end of the body: RFC 9112, section 6.3
            return b""
        self._chunked = True
        return b"transfer-encoding: chunked\r\n"

    def _connection(self, value: bytes) -> bytes:
        """Return what is left of the app's Connection field without what is ours to say."""
        tokens = [token.strip() for token in value.split(b",")]
        if any(token.lower() == b"close" for token in tokens):
            self.last = True
        return b", ".join(token for token in tokens if token.lower() not in (b"", b"close", b"keep-alive"))


def is_standard(status: int, reason: bytes) -> bool:
    """Return whether a phrase is the standard one of a status."""
    return _STATUS_LINES.get(status) == b"HTTP/1.1 %d %b\r\n" % (status, reason)


def early_hints(links: Iterable[bytes]) -> bytes:
    """Return a response 103 with these links; raises WrongResponse."""
    lines = [b"link: %b\r\n" % link for link in links]
    return b"HTTP/1.1 103 Early Hints\r\n" + _checked(b"".join(lines), len(lines)) + b"\r\n"


def switching(fields: Fields, always: bytes) -> bytes:
    """Return a response 101 with these fields; raises WrongResponse."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in fields if _name(name)]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n" + _checked(b"".join(lines), len(lines)) + always + b"\r\n"
    )


def _name(name: bytes) -> bytes:
    """Return the name of a field in lower case."""
    known = _NAMES.get(name)
    if known is None:
        if not isinstance(name, bytes) or _TOKEN.fullmatch(name) is None:
            raise WrongResponse(f"a field with the name {name!r}: expected a token, as bytes")
        known = name.lower()
        if len(_NAMES) < MAX_NAMES:
            _NAMES[name] = known
    return known


def _checked(block: bytes, lines: int) -> bytes:
    """Return lines, unless a line end or a null byte in a value would make more of them."""
    if block.count(b"\n") != lines or block.count(b"\r") != lines or b"\0" in block:
        raise WrongResponse("a field with a line end or a null byte in its value")
    return block
