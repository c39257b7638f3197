"""Text for a person who has started the service on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sockact.config.settings import Settings
from sockact.sockets.fds import Kind, Listener
from sockact.system import standard_streams

_ANY = ("0.0.0.0", "[::]")
"""The addresses of all interfaces, at which no browser can ask."""


def hint(listeners: Sequence[Listener], chosen: Settings) -> str:
    """Return where to click and how to end it, if stderr is a terminal; else nothing."""
    if not standard_streams.is_terminal():
        return ""
    urls = [url(each, chosen) for each in listeners if each.kind is Kind.STREAM and each.is_internet]
    return f" ({', '.join([*urls, 'Ctrl-C stops it'])})"


def url(listener: Listener, chosen: Settings) -> str:
    """Return the address of an internet socket for a browser; one on all addresses is on this machine."""
    host, _, port = listener.address.rpartition(":")
    tls = chosen.tls_certificate and listener.name not in chosen.plain_listeners
    return f"{'https' if tls else 'http'}://{'127.0.0.1' if host in _ANY else host}:{port}"
