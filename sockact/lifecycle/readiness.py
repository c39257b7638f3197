"""Whether a service wants new clients, as load balancers ask it.

    word       said with  when
    starting   503        before the app has started
    ready      200        also throughout a reload, in workers that are replaced as well
    draining   503        from the moment a stop begins, `drain_delay` before it stops accepting

Whether it is alive at all, it says by answering.
"""

from __future__ import annotations

from dataclasses import dataclass

READY_PATH = "/-/ready"
LIVE_PATH = "/-/live"

RETRY_AFTER = 5
"""Seconds after which a client that was refused may try again: a restart takes less."""

_WORDS = {"starting": 503, "ready": 200, "draining": 503, "live": 200}


class Readiness:
    """What this process says of itself.

    Attributes:
        word: one of the words above.
        refusing: whether requests are refused, since the service stops.
    """

    def __init__(self) -> None:
        self.word = "starting"
        self.refusing = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response without a connection."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def answer(word: str) -> Answer:
    """Return the response that says a word."""
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
