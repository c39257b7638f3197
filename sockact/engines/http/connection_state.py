"""The state that the connections of one HTTP engine share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from uvicorn.server import ServerState

from sockact.engines.http.timeouts import Bounds
from sockact.handover.transfer import Giver


@dataclass(frozen=True, slots=True)
class Graces:
    """The times that streams and WebSockets get in a drain.

    Attributes:
        stream: seconds for responses that have begun; None until the drain timeout.
        websocket: seconds for WebSockets.
        jitter: seconds over which their ends are spread, so that their clients do not reconnect at once.
    """

    stream: float | None = None
    websocket: float = 0.0
    jitter: float = 0.0

    def end_of(self, grace: float) -> float:
        """Return the seconds from the beginning of a drain to the end of a connection with this grace."""
        return grace + random.uniform(0, self.jitter)


class ObservedSet(set[Any]):
    """A set that calls `on_change` when it changes; uvicorn's protocols add themselves to one."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def add(self, item: Any) -> None:
        super().add(item)
        self._on_change()

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._on_change()

    def remove(self, item: Any) -> None:
        super().remove(item)
        self._on_change()


class State(ServerState):
    """The state that all connections of an engine share.

    Args:
        linger: seconds that a connection without a request in flight may stay in a drain.
        graces: times that streams and WebSockets get in a drain.
        bounds: limits for clients.
        on_change: called when a connection opens or closes.
        on_request: called when a request begins.

    Attributes:
        requests: the number of requests that have begun.
        constant_headers: header fields of every response.
    """

    def __init__(
        self,
        linger: float,
        graces: Graces,
        bounds: Bounds,
        on_change: Callable[[], None] = lambda: None,
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.linger = linger
        self.graces = graces
        self.bounds = bounds
        self.giver: Giver | None = None
        self.requests = 0
        self.on_request = on_request
        self.draining_since: float | None = None
        self.connections = ObservedSet(on_change)
        self.constant_headers: list[tuple[bytes, bytes]] = []
        self._second = 0
        self._default_headers: list[tuple[bytes, bytes]] = []

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields of every response, with the Date: uvicorn's timer for it does not run here."""
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
    """Return the client's name for a log line."""
    return "a Unix client" if address is None else f"{address[0]}:{address[1]}"
