"""The head of a request: its line, its fields, and what they say of the body. No I/O.

The request line is parsed here, since httptools knows only some methods, and versions that are not served.
Source: RFC 9112, sections 3 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ([\x21-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)\r\n")
"""A request line. Source: RFC 9112, section 3."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OTHER_VERSION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/(?!1\.\d\r)\d+(\.\d+)?\r\n")

LONGEST_METHOD = 64
"""Bytes of a method, at most."""

BEGUN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}( [\x21-\x7e\x80-\xff]*( [HTP/.0-9]*\r?)?)?")
"""The beginning of a request line: more of it may come."""

BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
"""A line end that is none: another server might see other lines than we do."""

_HOST = re.compile(rb"([A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%_~-]+\])(:\d*)?")
"""The value of a Host field. Source: RFC 3986, section 3.2.2."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")
"""A request's id that is taken from others: what UUIDs, ULIDs, base64 and trace contexts are made of."""

_HOSTS: set[bytes] = set()
"""Values of Host that were checked."""

MAX_HOSTS = 256

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^@/?]*@)?([^/?@]*)(.*)")

_SLASH = ord("/")

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
}
"""Methods that are passed to the parser as they are; for it, all others are POST."""


class Request:
    """The head of a request.

    Attributes:
        method: as sent; any token.
        target: the request target as sent, for log lines.
        raw_path: the path as sent.
        query: what follows the question mark.
        version: the HTTP version, `1.0` or `1.1`.
        headers: names in lower case, and values.
        hosts: the number of Host fields.
        length: the bytes of the body; None if it is chunked.
        codings: the values of Transfer-Encoding.
        persistent: whether the client wants to send another request.
        closes: whether it has asked for the connection to be closed.
        expects: whether it waits for 100 Continue.
        upgrade: the value of Upgrade, in lower case, if Connection names it.
        trailers: whether it takes trailers.
        id: its id, if the setting `request_id` asks for one.
        began: when its head was complete, by time.monotonic(), if the access log or ids are asked for.
    """

    length: int | None = 0
    codings: tuple[bytes, ...] = ()
    hosts = 0
    closes = False
    expects = False
    upgrade = b""
    trailers = False
    id = ""
    began = 0.0

    def __init__(
        self, method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        if b"#" in target:  # a fragment is no part of a request target
            target = target.partition(b"#")[0]
        self.raw_path, _, self.query = target.partition(b"?")
        self.persistent = version == "1.1"


class Refused(Exception):  # noqa: N818 - a request is refused: no fault of the service
    """Raised for a request that is refused; `status` is the answer."""

    def __init__(self, status: int, request: Request) -> None:
        super().__init__(status)
        self.status = status
        self.request = request


def parsed(line: re.Match[bytes], fields: list[tuple[bytes, bytes]], max_body: int) -> Request:
    """Return a request; raises Refused.

    Args:
        line: the match of `LINE`.
        fields: names in lower case, and values.
        max_body: most bytes of a body; 0 for no limit.
    """
    method, target, _, minor = line.groups()
    request = Request(
        METHODS.get(method) or method.decode("ascii"), target, "1.0" if minor == b"0" else "1.1", fields
    )
    for name, value in request.headers:
        if name in _LOOKED_AT:
            _LOOKED_AT[name](request, value)
    if not (request.hosts == 1 or (request.hosts == 0 and minor == b"0")):
        raise Refused(400, request)
    if target[0] != _SLASH:
        _resolve(request)
    if request.codings:
        _look_at_codings(request)
    if request.length == 0:
        request.expects = False  # there is nothing to continue with
    elif request.length and 0 < max_body < request.length:
        raise Refused(413, request)
    if request.method == "CONNECT":
        raise Refused(501, request)
    return request


def _host(request: Request, value: bytes) -> None:
    request.hosts += 1
    if value in _HOSTS:
        return
    if not _HOST.fullmatch(value):
        raise Refused(400, request)
    if len(_HOSTS) < MAX_HOSTS:
        _HOSTS.add(value)


def _length(request: Request, value: bytes) -> None:
    request.length = int(value)  # a number, as the parser has checked


def _coding(request: Request, value: bytes) -> None:
    request.codings = (*request.codings, value)


def _expectation(request: Request, value: bytes) -> None:
    request.expects = value.lower() == b"100-continue" and request.version == "1.1"


def _te(request: Request, value: bytes) -> None:
    request.trailers = request.trailers or b"trailers" in value.lower()


def _connection(request: Request, value: bytes) -> None:
    value = value.lower()
    if value == b"keep-alive" and request.version == "1.1":
        return
    tokens = [token.strip() for token in value.split(b",")]
    if b"close" in tokens:
        request.persistent = False
        request.closes = True
    elif b"keep-alive" in tokens and not request.closes:
        request.persistent = True
    if b"upgrade" in tokens and request.version == "1.1":
        asked = [value for name, value in request.headers if name == b"upgrade"]
        request.upgrade = b",".join(asked).lower()


def _look_at_codings(request: Request) -> None:
    """Check the transfer codings. Source: RFC 9112, section 6.1."""
    named = [coding.strip().lower() for coding in b",".join(request.codings).split(b",")]
    if request.version == "1.0" or named[-1] != b"chunked" or b"chunked" in named[:-1]:
        raise Refused(400, request)
    if named != [b"chunked"]:
        raise Refused(501, request)
    request.length = None


def _resolve(request: Request) -> None:
    """Resolve a target that is no path. Source: RFC 9112, section 3.2."""
    target = request.target
    if request.method == "CONNECT":
        raise Refused(501, request)
    if target == b"*" and request.method == "OPTIONS":
        return
    absolute = _ABSOLUTE.fullmatch(target.partition(b"#")[0])
    if absolute is None or not absolute[1] or not _HOST.fullmatch(absolute[1]):
        raise Refused(400, request)
    request.raw_path, _, request.query = absolute[2].partition(b"?")
    request.raw_path = request.raw_path or b"/"
    request.headers[:] = [each for each in request.headers if each[0] != b"host"]
    request.headers.insert(0, (b"host", absolute[1]))


def is_below(path: str, root: str) -> bool:
    """Return whether a path is `root` or begins with it: /api/a is below /api, and /apis is not."""
    return path.startswith(root) and path[len(root) :][:1] in ("", "/")


def guessed(head: bytes | bytearray) -> Request | None:
    """Return a request with the method and target that a head may have, for the log and the answer."""
    method, _, target = bytes(head[:1024]).partition(b"\r\n")[0].partition(b" ")
    if _TOKEN.fullmatch(method) is None:
        return None
    return Request(method.decode("ascii"), target.partition(b" ")[0] or b"-", "1.1", [])


def wrong_line(head: bytes | bytearray) -> int:
    """Return the answer to a request line that is none."""
    return 505 if _OTHER_VERSION.match(head) else 400


_LOOKED_AT: dict[bytes, Callable[[Request, bytes], None]] = {
    b"host": _host,
    b"content-length": _length,
    b"transfer-encoding": _coding,
    b"connection": _connection,
    b"expect": _expectation,
    b"te": _te,
}
