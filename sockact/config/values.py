"""Parsers for the texts of settings.

Each function parses one kind of value, or raises ValueError with the expected form.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TRUE = ("1", "yes", "true", "on")
_FALSE = ("0", "no", "false", "off")

MEANT_FOR_CLIENTS = frozenset(
    [
        # Framing and connection: RFC 9112, and RFC 9110, sections 7 to 10.
        *("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via", "host", "expect", "max-forwards", "date"),
        # Content and caching: RFC 9110, sections 8 to 15, RFC 9111, RFC 6266.
        *("accept-ranges", "age", "allow", "cache-control", "content-disposition", "content-encoding"),
        *("content-language", "content-location", "content-range", "content-type", "etag", "expires"),
        *("last-modified", "link", "location", "pragma", "retry-after", "vary", "warning"),
        # Instructions to the client.
        *("alt-svc", "authentication-info", "clear-site-data", "refresh", "set-cookie", "set-cookie2"),
        *("strict-transport-security", "www-authenticate", "x-content-type-options", "x-frame-options"),
    ]
)
"""Response fields, in lower case, that clients act on: a version in them would break the response."""

FAMILIES = ("access-control-", "proxy-", "sec-", "content-security-", "cross-origin-")


def seconds(text: str) -> float:
    """Parse a time span in the form of systemd.time(7): `30`, `1.5s`, `250ms`, `1min 30s`."""
    # Part by part: one expression for the whole would try all ways to split a long wrong text.
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)|(\S)", text)
    total = math.inf if not parts else 0.0
    for amount, unit, _ in parts:
        total += float(amount) * _UNITS[unit] if amount and unit in _UNITS else math.inf
    if not math.isfinite(total):
        raise ValueError("expected a time span like 30, 1.5s, 250ms or 1min 30s")
    return total


def seconds_or_none(text: str) -> float | None:
    """Parse a time span, or `none` for no limit."""
    return None if text.strip().lower() in ("none", "infinity") else seconds(text)


def flag(text: str) -> bool:
    """Parse a boolean in the form of systemd.syntax(7)."""
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError("expected yes or no")
    return word in _TRUE


def number(text: str) -> int:
    """Parse a whole number, not negative."""
    if not re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError("expected a whole number, not negative")
    return int(text)


def size(text: str) -> int:
    """Parse a number of bytes in systemd's form: `300M`; K, M, G are powers of 1024."""
    match = re.fullmatch(r"\s*(\d+)\s*([KMGT]?)\s*", text)
    if not match:
        raise ValueError("expected a size like 300M")
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


@dataclass(frozen=True, slots=True)
class OneOf:
    """A parser that accepts one of some words."""

    choices: tuple[str, ...]

    def __call__(self, text: str) -> str:
        """Return the word; raises ValueError with the choices for another one."""
        if text not in self.choices:
            raise ValueError(f"expected one of {', '.join(self.choices)}")
        return text


def plain(text: str) -> str:
    """Parse a text for the status and a response header: printable ASCII."""
    if not (text.isascii() and text.isprintable()) or len(text) > 256:
        raise ValueError("expected printable ASCII characters, at most 256")
    return text


def header(text: str) -> str:
    """Parse the name of a header field, or an empty text. Source: RFC 9110, section 5.6.2."""
    if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]*", text, re.ASCII) or len(text) > 256:
        raise ValueError("expected the name of a header field like X-Version")
    if text.lower() in MEANT_FOR_CLIENTS or text.lower().startswith(FAMILIES):
        raise ValueError("clients act on this field: expected one like X-Version")
    return text


def url_path(text: str) -> str:
    """Parse the path of a URL, or an empty text."""
    if not re.fullmatch(r"(/[!-~]*)?", text):
        raise ValueError("expected a path like /-/ready")
    return text


def root(text: str) -> str:
    """Parse the path of a URL that others are below, or an empty text."""
    if not re.fullmatch(r"(/[!-.0->@-~]+)*", text):
        raise ValueError("expected a path like /api, without a slash at its end")
    return text


def url(text: str) -> str:
    """Parse the path of a URL, a whole http or https URL, or an empty text."""
    if text.startswith("/") or not text:
        return url_path(text)
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[!-~]*)?", text, re.ASCII):
        raise ValueError("expected a path like /-/ready, or a URL like https://example.org/-/ready")
    return text


def words(text: str) -> tuple[str, ...]:
    """Parse a list separated by blanks or commas; it must not be empty."""
    found = tuple(word for word in re.split(r"[\s,]+", text) if word)
    if not found:
        raise ValueError("expected a word or several")
    return found


def paths(text: str) -> tuple[str, ...]:
    """Parse a list separated by blanks, which may be empty."""
    return tuple(text.split())
