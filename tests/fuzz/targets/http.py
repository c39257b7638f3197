"""An HTTP connection: the engine finds the requests that h11 finds in the same bytes, and answers each."""

from __future__ import annotations

import re

from tests.fuzz import h11_reading, loops
from tests.fuzz.differences import LAXER, MOST_BYTES, STRICTER
from tests.fuzz.h11_reading import CLOSED, REFUSED, Reading, Seen
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import cut
from tests.fuzz.served import serve

DICTIONARY = (
    *(
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"OPTIONS * ",
        b"CONNECT ",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/1.2\r\n",
    ),
    *(
        b"Host: a\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\x80",
        b"\xff",
    ),
    *(
        b"Content-Length: 3\r\n",
        b"Content-Length: 03\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding",
    ),
    *(
        b"chunked",
        b"identity",
        b"gzip, ",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"upgrade",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\n",
        b"Connection: Upgrade\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ),
    *(
        b"3;a=b\r\n",
        b'3;a="\r\n"\r\n',
        b"http://b/",
        b"?q",
        b"#f",
        b"[::1]",
        b"X: y\r\n",
        b" z\r\n",
        b"0x3",
        b"+3",
    ),
)


LONG_EXTENSION = re.compile(rb";[^\n]{%d}" % (MOST_BYTES - 100))
"""The extension of a chunk that is refused only if it does not come in one piece, which bounds it."""


def target(data: bytes) -> None:
    """Let the engine and h11 read a connection."""
    ours, received = loops.run(serve([data] if data else []))
    pieces, received_in_pieces = loops.run(serve(cut(data)))
    theirs = h11_reading.read(data)
    if not LONG_EXTENSION.search(data):
        _same(ours, pieces, part=theirs.rest.lstrip(b"\r\n"))
    _compare(ours, theirs)
    for reading, answer in ((ours, received), (pieces, received_in_pieces)):
        _check_answers(reading, answer)


def _same(whole: Reading, cut_up: Reading, part: bytes) -> None:
    """Fail unless the same is read of the same bytes, however they come."""
    one, other = (
        [(*_name(each), each.complete and each.body) for each in reading.requests]
        for reading in (whole, cut_up)
    )
    # The part of a request line that can be none is refused when it is looked at, at its end at the latest.
    ends = whole.end == cut_up.end or bool(part and b"\n" not in part)
    if one != other or not ends:
        raise Broken(f"at once {whole}, and in pieces {cut_up}")


def _name(seen: Seen) -> tuple[object, ...]:
    return seen.method, seen.target, seen.version, seen.headers, seen.complete


def _compare(ours: Reading, theirs: Reading) -> None:
    """Fail unless both read the same requests, up to a difference that is meant."""
    for number in range(max(len(ours.requests), len(theirs.requests))):
        own = ours.requests[number] if number < len(ours.requests) else None
        other = theirs.requests[number] if number < len(theirs.requests) else None
        if own is None or other is None or not (own.complete and other.complete):
            _compare_ends(own, other, ours, theirs)
            return
        if not (own.same_head(_resolved(other)) and own.body == other.body):
            raise Broken(f"found {own}, and h11 {other}")


def _compare_ends(own: Seen | None, other: Seen | None, ours: Reading, theirs: Reading) -> None:
    """Compare the first request that one of the two has not read."""
    head, tail = _parts(theirs.rest) if other is None or not other.complete else (other.head, other.tail)
    if own is not None and other is not None:
        if not own.same_head(_resolved(other)):
            raise Broken(f"found {own}, and h11 {other}")
        if not (own.body.startswith(other.body) or other.body.startswith(own.body)):
            raise Broken(f"of the body found {own.body!r}, and h11 {other.body!r}")
    ours_is, theirs_is = _state(own, ours.end), _state(other, theirs.end)
    if ours_is == theirs_is or ("refused" in (ours_is, theirs_is) and "part" in (ours_is, theirs_is)):
        return  # the one that has refused a part of a request needs no more of it
    table = STRICTER if ours_is == REFUSED else LAXER
    if not any(each.explains(head, tail) for each in table):
        raise Broken(f"{ours_is}: {own}; h11 {theirs_is}: {other}; of {head!r} {tail!r}")


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the head that begins there, and the rest."""
    begin = len(data) - len(data.lstrip(b"\r\n"))
    end = re.search(rb"\n\r?\n", data[begin:])
    place = len(data) if end is None else begin + end.end()
    return data[:place], data[place:]


def _state(seen: Seen | None, end: str) -> str:
    if seen is not None and seen.complete:
        return "read"
    return REFUSED if end == REFUSED else "closed" if end == CLOSED else "part"


def _resolved(seen: Seen) -> Seen:
    """Return a request with the Host that its target names: RFC 9112, section 3.2.2."""
    _, found, rest = seen.target.partition(b"://")
    if seen.target.startswith(b"/") or not found:
        return seen
    authority = rest.partition(b"#")[0].partition(b"/")[0].partition(b"?")[0].rpartition(b"@")[2]
    others = [field for field in seen.headers if field[0] != b"host"]
    return Seen(
        seen.method, seen.target, seen.version, [(b"host", authority), *others], seen.body, seen.complete
    )


def _check_answers(ours: Reading, received: bytes) -> None:
    """Fail unless each request has its response, and nothing else was sent."""
    refused = ours.end == REFUSED
    methods = [each.method for each in ours.requests if each.complete]
    statuses = h11_reading.responses(received, [*methods, *([b"GET"] if refused else [])])
    good, rest = statuses[: len(methods)], statuses[len(methods) :]
    if good != [200] * len(methods) or len(rest) != refused or any(status < 400 for status in rest):
        raise Broken(
            f"{len(methods)} requests{', and one refused' if refused else ''}: answered {statuses}"
        )
