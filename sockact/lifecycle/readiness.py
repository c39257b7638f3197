"""The readiness of a service for new clients, as load balancers ask for it.

    word       status  meaning
    starting   503     the app has not started yet
    ready      200     also throughout a reload, and in workers that are being replaced
    draining   503     from the moment a stop begins, `drain_delay` before it stops accepting

Any answer at all means that it is alive.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

READY_PATH = "/-/ready"
LIVE_PATH = "/-/live"

RETRY_AFTER = 5
"""Seconds after which a refused client may try again: a restart takes less."""

_WORDS = {"starting": 503, "ready": 200, "draining": 503, "live": 200}


class Tellable(Protocol):
    """The readiness of a service, whoever knows it."""

    @property
    def word(self) -> str:
        """One of the words above."""

    @property
    def refusing(self) -> bool:
        """True when a stop accepts no more: `drain_delay` is over."""


class Readiness:
    """The readiness of this process.

    Attributes:
        word: one of the words above.
        refusing: whether requests are refused, since the service stops.
    """

    def __init__(self, word: str = "starting") -> None:
        self.word = word
        self.refusing = False


class Answer(NamedTuple):
    """An HTTP response without a connection."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def answer(word: str) -> Answer:
    """Return the response with a word."""
    status = _WORDS[word]
    body = f"{word}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers += [(b"retry-after", b"%d" % RETRY_AFTER), (b"connection", b"close")]
    return Answer(status, tuple(headers), body)
