"""Text for a person who has started the service on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sockact.sockets.fds import Kind, Listener
from sockact.system import standard_streams

_ANY = ("0.0.0.0:", "[::]:")
"""The addresses of all interfaces, at which no browser can ask."""


def hint(listeners: Sequence[Listener], scheme: str) -> str:
    """Return where to click and how to end it, if stderr is a terminal; else nothing."""
    if not standard_streams.is_terminal():
        return ""
    found = [each.address for each in listeners if each.kind is Kind.STREAM and ":" in each.address]
    urls = [f"{scheme}://{_named(each)}/" for each in found if not each.startswith(("/", "@"))]
    return f" ({', '.join([*urls, 'Ctrl-C stops it'])})"


def _named(address: str) -> str:
    host = next((host for host in _ANY if address.startswith(host)), None)
    return address if host is None else f"localhost:{address.removeprefix(host)}"
