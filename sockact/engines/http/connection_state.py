"""What the connections of one engine share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from uvicorn.server import ServerState

from sockact.engines.http.timeouts import Bounds
from sockact.handover.transfer import HandoverSender


@dataclass(frozen=True, slots=True)
class Graces:
    """How long a drain lets streams and WebSockets go on.

    Attributes:
        stream: seconds for responses that have begun; None up to the hammer.
        websocket: seconds for WebSockets.
        jitter: seconds over which their ends are spread, so that their clients do not come back together.
    """

    stream: float | None = None
    websocket: float = 0.0
    jitter: float = 0.0

    def end_of(self, grace: float) -> float:
        """Return how many seconds after its beginning a drain ends one of those with this grace."""
        return grace + random.uniform(0, self.jitter)


class Watched(set[Any]):
    """A set that says when it changes: uvicorn's protocols keep themselves in one."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def add(self, item: Any) -> None:
        super().add(item)
        self._changed()

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._changed()

    def remove(self, item: Any) -> None:
        super().remove(item)
        self._changed()


class State(ServerState):
    """What all connections of an engine share.

    Args:
        linger: seconds that a connection without a request in flight may stay in a drain.
        graces: how long what is open for longer may go on in it.
        bounds: how long clients may take.
        changed: called when a connection comes or goes.

    Attributes:
        requests: how many have begun.
        requested: called when one begins.
        constant_headers: header fields that each response has.
    """

    def __init__(self, linger: float, graces: Graces, bounds: Bounds, changed: Callable[[], None]) -> None:
        super().__init__()
        self.linger = linger
        self.graces = graces
        self.bounds = bounds
        self.giver: HandoverSender | None = None
        self.requests = 0
        self.requested: Callable[[], None] = lambda: None
        self.draining_since: float | None = None
        self.connections = Watched(changed)
        self.constant_headers: list[tuple[bytes, bytes]] = []
        self._second = 0
        self._default_headers: list[tuple[bytes, bytes]] = []

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What each response has; the Date is made here, since uvicorn's timer stops with its main loop."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            date = (b"date", formatdate(now, usegmt=True).encode())
            self._default_headers = [*self.constant_headers, date]
        return self._default_headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """Ignore the empty list that uvicorn's constructor assigns."""


def client_name(address: tuple[str, int] | None) -> str:
    """Say for a log line who the client is."""
    return "a Unix client" if address is None else f"{address[0]}:{address[1]}"
