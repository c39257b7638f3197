"""The state that the connections of one HTTP engine share."""

from __future__ import annotations

import asyncio
import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sockact.engines.http.hangups import Hangups
from sockact.engines.http.head import Request
from sockact.engines.http.timeouts import Bounds
from sockact.handover.transfer import HandoverSender
from sockact.lifecycle.readiness import Answer
from sockact.lifecycle.tasks import cancel
from sockact.protocols.statistics_page import WorkerStatistics

if TYPE_CHECKING:
    from sockact.engines.http.forwarded import Proxies
    from sockact.engines.http.request_log import RequestLog

MEASURED = 8
"""One of so many responses is measured when they follow each other fast: to measure each costs 2 % of a
small one."""

FAST = 0.01
"""Seconds between two measured responses, below which they follow each other fast."""

_DAYS = b"Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

Intercept = Callable[[Request], Answer | None]
"""Returns the response to a request that is not for the app; None if it is."""

Runner = Callable[..., Any]
"""Returns the `AppCall` of a request on a connection, which has not started. A WebSocket may have come from
another process: a third argument is what it has brought."""


class Graces(NamedTuple):
    """The times that streams and WebSockets get in a drain.

    Attributes:
        stream: seconds for responses that have begun; None until the drain timeout.
        websocket: seconds for WebSockets.
        answer: seconds for an app to let a WebSocket move.
        jitter: seconds over which their ends are spread, so that their clients do not reconnect at once.
    """

    stream: float | None = None
    websocket: float = 0.0
    answer: float = 0.0
    jitter: float = 0.0

    def end_of(self, grace: float) -> float:
        """Return the seconds from the beginning of a drain to the end of a connection with this grace."""
        return grace + random.uniform(0, self.jitter)


class ObservedSet(set[Any]):
    """A set that calls `on_change` when one is added or discarded."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def add(self, item: Any) -> None:
        """Add an item."""
        super().add(item)
        self._on_change()

    def discard(self, item: Any) -> None:
        """Discard an item."""
        super().discard(item)
        self._on_change()


class EngineState:
    """The state that all connections of an engine share.

    Args:
        runner: makes the call of a request with the app.
        linger: seconds that a connection without a request in flight may stay in a drain.
        graces: times that streams and WebSockets get in a drain.
        bounds: limits for clients.
        on_change: called when a connection opens or closes.

    Attributes:
        on_request: called when a request begins.
        on_made: called with a connection that is about to be counted among the open ones.
        websocket: makes the call of a WebSocket handshake; None if the app takes no WebSockets.
        intercept: answers requests that are not for the app.
        proxies: the proxies that are believed; None if there are none.
        app_state: the app's lifespan state.
        root_path: the path under which a proxy serves the app.
        request_log: gives requests their ids, and logs them; None if no setting asks for that.
        connections: the open connections.
        running: the requests that the app works on, also after their response.
        requests: the number of requests that have begun.
        sender: offers connections to other processes; None if there are none.
        owed: how many connections are to go to less loaded processes, as they become idle.
        measured_from: the number of the request from which on the next response is measured.
        held: whether no request is read, since the service is paused.
        draining_since: when the drain has begun, by the loop's clock.
        aborted: whether the drain was aborted.
        statistics: counts requests and connections.
        on_end: called when the app has ended a request; None if nobody waits for that.
        constant_fields: header fields of every response.
    """

    def __init__(
        self,
        runner: Runner,
        linger: float,
        graces: Graces,
        bounds: Bounds,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.runner = runner
        self.linger = linger
        self.graces = graces
        self.bounds = bounds
        self.on_request = _nothing
        self.on_made: Callable[[Any], None] = lambda _: None
        self.websocket: Runner | None = None
        self.intercept: Intercept | None = None
        self.proxies: Proxies | None = None
        self.app_state: dict[str, Any] = {}
        self.root_path = ""
        self.request_log: RequestLog | None = None
        self.connections = ObservedSet(on_change)
        self.running: set[Any] = set()
        self.requests = 0
        self.sender: HandoverSender | None = None
        self.owed = 0
        self.measured_from: float = math.inf
        self._on_measured: Callable[[float], None] = lambda _: None
        self._measured = 0.0
        self.held = False
        self.draining_since: float | None = None
        self.aborted = False
        self.constant_fields: Sequence[tuple[bytes, bytes]] = ()
        self.statistics = WorkerStatistics()
        self.hangups = Hangups()
        self.on_end: Callable[[], None] | None = None
        self._second = 0
        self._always = b""

    def uncounted(self) -> EngineState:
        """Return the same for a connection that counts for nothing, and that does not drain."""
        apart = copy.copy(self)
        apart.connections = ObservedSet(_nothing)
        apart.running = set()
        apart.statistics = WorkerStatistics()
        apart.on_request = _nothing
        apart.measured_from = math.inf
        apart.held = False
        apart.draining_since = None
        return apart

    def compare(self, on_measured: Callable[[float], None]) -> None:
        """Measure after how many seconds responses begin; `on_measured` is called with them."""
        self._on_measured = on_measured
        self.measured_from = 0

    def measure(self, since: float) -> None:
        """Measure a response to a request that has come at `since`."""
        # The loop's clock stands still while an app keeps the loop busy.
        now = time.monotonic()
        self._on_measured(now - since)
        self.measured_from = self.requests + (MEASURED if now - self._measured < FAST else 1)
        self._measured = now

    async def idle(self) -> None:
        """Wait until the app works on no request."""
        ended = asyncio.Event()
        self.on_end = ended.set
        while self.running:
            ended.clear()
            await ended.wait()

    async def cancel_running(self) -> None:
        """Cancel what the app works on; threads cannot be cancelled."""
        tasks = [getattr(each, "task", None) for each in self.running]
        await cancel(task for task in tasks if task is not None)

    def always(self) -> bytes:
        """Return the header fields of every response, as bytes; the first one is the Date."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            fields = [(b"date", http_date(now)), *self.constant_fields]
            self._always = b"".join(b"%b: %b\r\n" % field for field in fields)
        return self._always

    def ended(self, call: object) -> None:
        """Note that the app has ended a request."""
        self.running.discard(call)
        if self.on_end is not None:
            self.on_end()


def _nothing() -> None:
    pass


def http_date(seconds: int) -> bytes:
    """Return a time as in the field Date. Source: RFC 9110, section 5.6.7.

    `email.utils` could do it, and its import takes a tenth of the start of a worker.
    """
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    form = b"%b, %02d %b %d %02d:%02d:%02d GMT"
    return form % (_DAYS[weekday], day, _MONTHS[month - 1], year, hour, minute, second)


def client_name(address: tuple[str, int] | None) -> str:
    """Return the client's name for a log line."""
    return "a Unix client" if address is None else f"{address[0]}:{address[1]}"
