"""The id of each request, and its line in the access log.

An engine has one of these only if a setting asks for either; else a request costs two looks at None.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from sockact.config.access_format import parts
from sockact.config.records import RecordKind, about, in_request
from sockact.config.settings import Settings
from sockact.engines.http.head import REQUEST_ID, Request
from sockact.engines.http.response import Fields, HttpResponse
from sockact.untrusted.text import visible

if TYPE_CHECKING:
    from sockact.engines.http.forwarded import Proxies, ProxyConnection

NO_STATUS = 499
"""The status of a request whose client has gone before its response, as in nginx; it is sent to nobody."""

LONGEST_VALUE = 1024
"""Bytes of a target or header field that are logged, at most: a client may send 64 KiB of them."""

IDENTIFIER = "sockact-access"
"""The SYSLOG_IDENTIFIER of the access log, by which it can be left out: `journalctl -t`."""

_logger = logging.getLogger("sockact.access")


class LoggedCall(Protocol):
    """A call as its record needs it; `AppCall` has the meanings."""

    request: Request
    response: HttpResponse
    client: tuple[str, int] | None


class RequestLog:
    """The ids and the access log of the requests to one engine.

    Args:
        settings: has `request_id`, `access_log` and `access_log_format`.
        proxies: the proxies that are believed; None if there are none.
    """

    def __init__(self, settings: Settings, proxies: Proxies | None = None) -> None:
        self._proxies = proxies
        self._field = settings.request_id.lower().encode()
        self._access = settings.access_log
        self._parts = [_part(*each) for each in parts(settings.access_log_format)]
        self._keeps_fields = self._access and "}o)" in settings.access_log_format

    def begin(self, request: Request, connection: ProxyConnection) -> None:
        """Note that a request has begun, and give it its id, unless it has one."""
        if not request.began:
            request.began = time.monotonic()
            # A WebSocket that has come from another process has one.
            known = request.id or self._told(request, connection) if self._field else ""
            request.id = known or (os.urandom(16).hex() if self._field else "")

    def _told(self, request: Request, connection: ProxyConnection) -> str:
        """Return the id that a trusted proxy has given; empty for none, or one that could do harm."""
        given = [value for name, value in request.headers if name == self._field]
        proxies = self._proxies
        if len(given) != 1 or proxies is None or not REQUEST_ID.fullmatch(given[0]):
            return ""
        return given[0].decode() if proxies.believes(connection.client, connection.peer) else ""

    def fields_of(self, call: LoggedCall, fields: Fields, always: bytes) -> tuple[Fields, bytes]:
        """Return the header fields of a response: the app's, and ours with the id.

        If the app sends an id of its own, that is the one for the client.
        """
        known = list(fields)
        if self._keeps_fields:
            call.response.fields = known
        request = call.request
        if request.id and all(name.lower() != self._field for name, _ in known):
            always = b"%b%b: %b\r\n" % (always, self._field, request.id.encode())
        return known, always

    def end(self, call: LoggedCall, *, aborted: bool = False) -> None:
        """Log a request that has ended.

        Args:
            call: its call.
            aborted: whether it was cut off before the end of its response.
        """
        if not self._access or not _logger.isEnabledFor(logging.INFO):
            return
        ended = Ended(call)
        request = call.request
        facts = about(
            RecordKind.REQUEST,
            syslog_identifier=IDENTIFIER,
            client=ended.host,
            method=request.method,
            target=ended.target,
            protocol=f"HTTP/{request.version}",
            status=ended.status,
            bytes=ended.size,
            duration_usec=ended.duration_usec,
            user_agent=ended.agent or None,
            referer=ended.referer or None,
            aborted=aborted or None,
        )
        line = "".join([part(ended) for part in self._parts])
        with in_request(request.id):
            # Not by `info`, which looks for its caller: a third of the cost.
            record = _logger.makeRecord(_logger.name, logging.INFO, "", 0, "%s", (line,), None, None, facts)
            _logger.handle(record)


class Ended:
    """A request that has ended, with what a line of the log needs.

    Attributes:
        call: its call.
        host: address of its client; empty on a Unix socket.
        status: of its response.
        size: bytes of the body that were sent.
        duration_usec: microseconds since its head was complete.
        target, agent, referer: what the client has sent, as it is shown; empty for none.
    """

    def __init__(self, call: LoggedCall) -> None:
        response = call.response
        self.call = call
        self.host = "" if call.client is None else shown(call.client[0].encode("utf-8", "replace"))
        self.status = response.status or NO_STATUS
        self.size = response.size
        request = call.request
        self.duration_usec = int((time.monotonic() - request.began) * 1e6)
        self.target = shown(request.target)
        self.agent = self.referer = ""
        for name, value in request.headers:
            if name == b"user-agent":
                self.agent = shown(value)
            elif name == b"referer":
                self.referer = shown(value)

    def told(self, name: bytes) -> str:
        """Return a header field of the request; empty for none."""
        return _joined(self.call.request.headers, name)

    def answered(self, name: bytes) -> str:
        """Return a header field of the response; empty for none."""
        return _joined(self.call.response.fields, name)

    @property
    def user(self) -> str:
        """The user name of Basic authentication. Source: RFC 7617."""
        kind, _, credentials = self.told(b"authorization").partition(" ")
        if kind.lower() != "basic":
            return ""
        try:
            return shown(base64.b64decode(credentials, validate=True).partition(b":")[0])
        except (binascii.Error, ValueError):
            return ""


def shown(value: bytes) -> str:
    """Return a value of a client's as one line of text, cut if it is long."""
    text = visible(value[:LONGEST_VALUE].decode("utf-8", "backslashreplace"))
    return text if len(value) <= LONGEST_VALUE else text + "…"


def quoted_part(text: str) -> str:
    """Return a text that does not end the quotes around it; `-` for none."""
    return text.replace("\\", "\\\\").replace('"', '\\"') or "-"


def _joined(fields: Fields, name: bytes) -> str:
    return shown(b",".join(value for each, value in fields if each.lower() == name))


def _line(ended: Ended) -> str:
    request = ended.call.request
    return f"{request.method} {quoted_part(ended.target)} HTTP/{request.version}"


_PARTS: dict[str, Callable[[Ended], str]] = {
    "h": lambda ended: quoted_part(ended.host),
    "l": lambda _: "-",
    "u": lambda ended: quoted_part(ended.user).replace(" ", "\\x20"),  # no quotes are around it
    "t": lambda _: time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
    "r": _line,
    "m": lambda ended: ended.call.request.method,
    "U": lambda ended: quoted_part(shown(ended.call.request.raw_path)),
    "q": lambda ended: quoted_part(shown(ended.call.request.query)),
    "H": lambda ended: f"HTTP/{ended.call.request.version}",
    "s": lambda ended: str(ended.status),
    "B": lambda ended: str(ended.size),
    "b": lambda ended: str(ended.size or "-"),
    "f": lambda ended: quoted_part(ended.referer),
    "a": lambda ended: quoted_part(ended.agent),
    "T": lambda ended: str(ended.duration_usec // 1_000_000),
    "M": lambda ended: str(ended.duration_usec // 1000),
    "D": lambda ended: str(ended.duration_usec),
    "L": lambda ended: f"{ended.duration_usec / 1e6:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
    "id": lambda ended: ended.call.request.id or "-",
}
"""The atoms of `access_format.ATOMS`."""


def _part(kind: str, text: str) -> Callable[[Any], str]:
    """Return a function that makes a part of a line."""
    if not kind:
        return lambda _: text
    name = text.encode("utf-8", "backslashreplace")
    if kind == "i:":
        return lambda ended: quoted_part(ended.told(name))
    if kind == "o:":
        return lambda ended: quoted_part(ended.answered(name))
    return _PARTS[kind]
