"""The format of a line of the access log, by gunicorn's names.

    %(a)s               an atom, one of `ATOMS`
    %({x-header}i)s     a header field of the request; with `o` one of the response
    %%                  a percent sign

Source: access_log_format in gunicorn's settings. Its `%({name}e)s` is missing: the WSGI environ may have
secrets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT = '%(h)s "%(r)s" %(s)s %(b)s %(M)sms "%(a)s"'

ATOMS = {
    "h": "address of the client; behind a trusted proxy, the one that it tells",
    "l": "always `-`",
    "u": "user name of Basic authentication, which nobody here has checked",
    "t": "time of the end of the request, as `[29/Nov/2026:21:00:00 +0000]`",
    "r": "request line: method, target, protocol",
    "m": "method",
    "U": "path, without the query",
    "q": "query",
    "H": "protocol, such as `HTTP/1.1`",
    "s": "status; 499 if the client has gone before there was one",
    "B": "bytes of the body that were sent",
    "b": "the same, or `-` for none",
    "f": "Referer",
    "a": "User-Agent",
    "T": "duration in whole seconds",
    "M": "duration in whole milliseconds",
    "D": "duration in microseconds",
    "L": "duration in seconds, with six decimals",
    "p": "PID of the process, as `<123>`",
    "id": "id of the request, with the setting `request_id`; not one of gunicorn's",
}
"""The atoms, and the meaning of each."""

_PART = re.compile(r"%\((?:\{([^{}()]+)\}([io])|(\w+))\)[sd]|%%")

MOST = 1024
"""Characters of a format, at most."""


class FormatPart(NamedTuple):
    """A part of a format.

    Attributes:
        kind: an atom; `i` or `o` with a name for a header field; empty for a text.
        text: the text, or the name of the field in lower case.
    """

    kind: str
    text: str = ""


def parts(form: str) -> list[FormatPart]:
    """Return the parts of a format; raises ValueError."""
    found: list[FormatPart] = []
    end = 0
    for match in _PART.finditer(form):
        found += _text(form[end : match.start()])
        end = match.end()
        field, side, atom = match.groups()
        if field is not None:
            found.append(FormatPart(side + ":", field.lower()))
        elif atom is not None:
            found.append(FormatPart(_known(atom)))
        else:
            found.append(FormatPart("", "%"))
    return found + _text(form[end:])


def access_format(text: str) -> str:
    """Parse a format: check it."""
    if len(text) > MOST or not text.isprintable() or not text:
        raise ValueError(f"expected 1 to {MOST} printable characters")
    parts(text)
    return text


def _known(atom: str) -> str:
    if atom not in ATOMS:
        raise ValueError(f"%({atom})s is unknown: expected one of {' '.join(ATOMS)}, or %({{field}}i)s")
    return atom


def _text(text: str) -> list[FormatPart]:
    if "%" in text:
        place = text.index("%")
        raise ValueError(f"{text[place : place + 12]!r} is unknown: expected %(a)s, %({{field}}i)s or %%")
    return [FormatPart("", text)] if text else []
