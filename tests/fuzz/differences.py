"""The differences between sockact and h11 that are meant, each with its reason; any other is a fault."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_BYTES = 2500
"""Bytes of a head, and of a body, that sockact is told to take."""


class Difference(NamedTuple):
    """A difference that is meant.

    Attributes:
        reason: why sockact reads otherwise.
        head: a pattern in the head of the request; empty if the head does not tell.
        tail: the same in what follows the head.
    """

    reason: str
    head: bytes = b""
    tail: bytes = b""

    def explains(self, head: bytes, tail: bytes) -> bool:
        """Return whether it explains that a request is read otherwise."""
        flags = re.IGNORECASE | re.DOTALL
        return bool(re.search(self.head, head, flags) and re.search(self.tail, tail, flags))


_LINE = rb"\A(?:\r?\n)*[^\r\n]*"

_HOST = rb"([a-z0-9._~!$&'()*+,;=%-]*|\[[0-9a-z:.%_~-]+\])(:\d*)?"
"""Host and port: RFC 3986, 3.2.2."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_EXTENSION = _TOKEN + rb"(=(" + _TOKEN + rb'|"([\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?'

STRICTER = (
    Difference("a head has a limit: RFC 9112, 3 and 5.4; RFC 6585, 5", rb"\A.{%d}" % (MOST_BYTES + 1)),
    Difference(
        "a body, its extensions and trailers have limits: RFC 9112, 7.1.1; RFC 9110, 15.5.14",
        tail=rb"\A.{%d}" % (MOST_BYTES + 1),
    ),
    Difference("a line ends with CR LF, and a lone LF is refused: RFC 9112, 2.2 (MAY)", rb"(?<!\r)\n"),
    Difference(
        "a lone LF in trailers: RFC 9112, 2.2 (MAY)", b"chunked", rb"(?:\A|\n)0+[^\n]*\n.*(?<!\r)\n"
    ),
    Difference("a folded line is refused: RFC 9112, 5.2 (MUST, or unfold it)", rb"\r\n[ \t]"),
    Difference(
        "a value has no control characters: RFC 9110, 5.5 (MAY retain or reject)",
        rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
    ),
    Difference(
        "a control character in trailers: RFC 9110, 5.5",
        b"chunked",
        rb"(?:\A|\n)0+[^\n]*\n.*[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
    ),
    Difference(
        "a folded trailer is refused: RFC 9112, 5.2", b"chunked", rb"(?:\A|\n)0+[^\n]*\n.*\r\n[ \t]"
    ),
    Difference(
        "Content-Length twice, or a list: RFC 9112, 6.3 (MUST refuse, or accept if all are equal)",
        rb"content-length:[^\n]*(,|\ncontent-length:)|content-length:.*\ncontent-length:",
    ),
    Difference(
        "Content-Length with Transfer-Encoding: RFC 9112, 6.3 (ought to be an error)",
        rb"(?=.*\ncontent-length:).*\ntransfer-encoding:",
    ),
    Difference(
        "Transfer-Encoding in HTTP/1.0: RFC 9112, 6.1 (MUST treat as faulty)",
        _LINE + rb" HTTP/1\.0\r?\n(.*\n)?transfer-encoding:",
    ),
    Difference(
        "Host is host and port: RFC 9112, 3.2 (MUST refuse)",
        rb"\nhost:(?![ \t]*" + _HOST + rb"[ \t]*\r?\n)",
    ),
    Difference(
        "other versions than 1.x are answered with 505: RFC 9110, 15.6.6", _LINE + rb" HTTP/[^1]\.\d\r?\n"
    ),
    Difference("CONNECT is answered with 501: RFC 9110, 9.3.6", rb"\A(?:\r?\n)*CONNECT "),
    Difference("a target is a path, a URL, or the * of OPTIONS: RFC 9112, 3.2", rb"\A(?:\r?\n)*[^ ]* [^/]"),
    Difference(
        "a method has 64 characters at most: RFC 9112, 3 (SHOULD refuse what is longer than any)",
        rb"\A(?:\r?\n)*[^ ]{65}",
    ),
    Difference(
        "Host is needed since HTTP/1.1: RFC 9112, 3.2; RFC 9110, 2.5 (1.2 is understood as 1.1)",
        _LINE + rb" HTTP/1\.[2-9]\r?\n(?!(.*\n)?host:)",
    ),
    Difference(
        "the extension of a chunk is a token, or one with a value: RFC 9112, 7.1.1",
        b"chunked",
        rb"(?:\A|\n)[0-9a-f]+;(?!" + _EXTENSION + rb"(;" + _EXTENSION + rb")*\r\n)",
    ),
    Difference(
        "a trailer does not frame: RFC 9110, 6.5.1 (MUST NOT be sent)",
        b"chunked",
        rb"\n(content-length|transfer-encoding)[ \t]*:",
    ),
    Difference(
        "no blank behind the size of a chunk: RFC 9112, 7.1.1 (only as BWS before an extension)",
        b"chunked",
        rb"[0-9a-f][ \t]+\r\n",
    ),
)
"""Differences by which sockact refuses a request that h11 reads."""

LAXER = (
    Difference(
        "zeros before the size of a chunk, of any number: RFC 9112, 7.1 (1*HEXDIG)",
        b"chunked",
        rb"0{4}[0-9a-f]{16}",
    ),
    Difference("an empty line before a request is ignored: RFC 9112, 2.2 (SHOULD)", rb"\A\r\n"),
    Difference(
        "a target may have bytes above 0x7f, as clients send them: RFC 9112, 3.2 would have them encoded",
        rb"\A(?:\r?\n)*[^\r\n]*[\x80-\xff]",
    ),
)
"""Differences by which sockact reads a request that h11 does not."""
