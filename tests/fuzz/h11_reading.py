"""An independent reading of the bytes of an HTTP connection, by h11.

h11 has no code in common with llhttp, on which httptools stands. `differences` has where sockact reads
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import h11

LONGEST = 1 << 20
"""Bytes of a head that h11 takes; the inputs are shorter."""

OPEN, REFUSED, CLOSED = "waits for more", "refused", "closed after it"


@dataclass
class Seen:
    """A request, as one of the two has read it.

    Attributes:
        method: as sent.
        target: as sent.
        version: `1.0` or `1.1`.
        headers: names in lower case, and values, in their order.
        body: as much of it as has come.
        complete: whether the end of the request has come.
        head: the bytes of its head, and those before it that belong to no request.
        tail: the bytes that follow these, up to the end of the request.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = False
    head: bytes = b""
    tail: bytes = b""

    def same_head(self, other: Seen) -> bool:
        """Return whether both have the same head."""
        own = self.method, self.target, self.version, self.headers
        return own == (other.method, other.target, other.version, other.headers)


class Reading(NamedTuple):
    """All that was read of a connection.

    Attributes:
        requests: the requests, in their order.
        end: what follows them.
        rest: the bytes behind the last request that was read whole.
    """

    requests: Sequence[Seen]
    end: str
    rest: bytes


def read(data: bytes) -> Reading:
    """Read the bytes of a client."""
    requests: list[Seen] = []
    end, rest = _read(data, requests)
    while end == CLOSED and _persists(requests[-1]):
        end, rest = _read(rest, requests)
    return Reading(requests, end, rest)


def _persists(request: Seen) -> bool:
    """Return whether a client of HTTP/1.0 wants to send another request, for which h11 does not wait."""
    tokens = [
        word.strip()
        for name, text in request.headers
        if name == b"connection"
        for word in text.lower().split(b",")
    ]
    return request.version == b"1.0" and b"keep-alive" in tokens and b"close" not in tokens


def _read(data: bytes, requests: list[Seen]) -> tuple[str, bytes]:
    """Add the requests that are found; return what follows, and the bytes behind the last whole one."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST)
    connection.receive_data(data)
    end, begin = "", 0
    while not end:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return REFUSED, data[begin:]
        place = len(data) - len(connection.trailing_data[0])
        if isinstance(event, h11.Request):
            requests.append(_seen(event, data[begin:place]))
        elif isinstance(event, h11.Data):
            requests[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            last = requests[-1]
            last.complete, last.tail = True, data[begin + len(last.head) : place]
            begin = place
            end = _answer(connection, last)
        else:
            end = OPEN
    return end, data[begin:]


def _answer(connection: h11.Connection, request: Seen) -> str:
    """Answer a request, as the app does; return CLOSED if the connection ends with that."""
    status = 501 if request.method == b"CONNECT" else 200
    connection.send(h11.Response(status_code=status, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    if connection.our_state is h11.MUST_CLOSE:
        return CLOSED
    connection.start_next_cycle()
    return ""


def _seen(event: h11.Request, head: bytes) -> Seen:
    version = b"1.0" if event.http_version == b"1.0" else b"1.1"
    return Seen(event.method, event.target, version, list(event.headers), head=head)


def responses(data: bytes, methods: Sequence[bytes]) -> list[int]:
    """Read the bytes of a server, which answers requests with these methods; return the statuses.

    Raises:
        h11.RemoteProtocolError: they are no responses, or more than there are requests.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST)
    connection.receive_data(data)
    statuses: list[int] = []
    for method in methods:
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        event = connection.next_event()
        while not isinstance(event, h11.EndOfMessage):
            if event in (h11.NEED_DATA, h11.PAUSED):
                return statuses
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
            event = connection.next_event()
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            break
        connection.start_next_cycle()
    rest = connection.trailing_data[0]
    if rest:
        raise h11.RemoteProtocolError(f"behind the last response: {rest[:80]!r}")
    return statuses
