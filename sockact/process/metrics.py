"""The metrics of a service on the listeners named `metrics`, in the text formats of Prometheus.

GET /metrics     200, in OpenMetrics if the client accepts it
all else         404, or 405

A supervisor answers, or a thread beside the app: no worker is asked, so that they may hang or die. It takes
prometheus-client, the extra `metrics`, and 6 MB of memory, most of it for ssl and http.server, which that
imports; nothing of it is imported where there is no such listener.

A text is made at most every `FRESH` seconds, so that scrapers cannot keep the process busy; and a slow one
is limited as any client of an `OwnServer`.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/, https://github.com/prometheus/OpenMetrics
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sockact.errors import ActivationError
from sockact.process import without_ssl
from sockact.process.health import read_head
from sockact.process.own_server import OwnServer
from sockact.protocols.metrics import PREFIX, families
from sockact.sockets.fds import METRICS, Listener

PATH = b"/metrics"

FRESH = 0.1
"""Seconds for which a text is good."""

Overview = Callable[[], Mapping[str, Any]]
"""Returns the overview of this service; asks nobody."""

AppMetrics = Callable[[], Sequence[Any]]
"""Returns the app's own metrics; may read files, and is called in a thread."""

logger = logging.getLogger(__package__)


def metrics_server(listeners: Sequence[Listener], overview: Overview, app: AppMetrics) -> OwnServer:
    """Return the server on the listeners named `metrics`; imports prometheus-client if there are any.

    Raises:
        ActivationError: it is not installed.
    """
    if listeners:
        require_library()
    return OwnServer(METRICS, listeners, MetricsAnswer(overview, app).respond)


def require_library() -> None:
    """Import prometheus-client; raises ActivationError if it is not installed."""
    without_ssl.undo()  # it imports ssl
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ActivationError(
            f"a socket is named {METRICS}: expected prometheus-client, found none ({error}): "
            "pip install 'sockact[metrics]'"
        ) from error


class MetricsAnswer:
    """Answers a request for the metrics.

    Args:
        overview: returns the overview of this service.
        app: returns the app's own metrics.
    """

    def __init__(self, overview: Overview, app: AppMetrics) -> None:
        self._overview = overview
        self._app = app
        self._made: dict[str, tuple[float, bytes]] = {}
        self._making = asyncio.Lock()

    async def respond(self, connection: socket.socket) -> None:
        """Read one request, and answer it; raises ValueError if none comes."""
        head = await read_head(connection)
        await asyncio.get_running_loop().sock_sendall(connection, await self._response(head))

    async def _response(self, head: bytes) -> bytes:
        line, _, rest = head.partition(b"\r\n")
        method, target = ([*line.split(b" "), b"", b""])[:2]
        if target.partition(b"?")[0] != PATH:
            return _answer(404)
        if method not in (b"GET", b"HEAD"):
            return _answer(405)
        content_type, body = await self._text(_accepted(rest))
        return _answer(200, content_type, body, head_only=method == b"HEAD")

    async def _text(self, accepted: str) -> tuple[str, bytes]:
        from prometheus_client.exposition import choose_encoder

        encoder, content_type = choose_encoder(accepted)
        async with self._making:
            return content_type, await self._fresh(content_type, encoder)

    async def _fresh(self, content_type: str, encoder: Callable[[Any], bytes]) -> bytes:
        at, text = self._made.get(content_type, (0.0, b""))
        if time.monotonic() - at > FRESH or not text:
            metrics = [*_of_service(self._overview()), *await self._app_metrics()]
            text = encoder(_Collected(metrics))
            # A client may make up types: of each it gets one, but only the latest is kept.
            self._made = {content_type: (time.monotonic(), text)}
        return text

    async def _app_metrics(self) -> Sequence[Any]:
        """Return the app's metrics; nothing that an app has written to its files keeps back the others."""
        try:
            found = await asyncio.to_thread(self._app)
        except Exception as error:  # noqa: BLE001 - whatever the files have
            logger.warning("the app's own metrics cannot be read: %s", error)
            return []
        return [each for each in found if not each.name.startswith(PREFIX)]


class _Collected:
    """Metrics, as an encoder takes them."""

    def __init__(self, metrics: Sequence[Any]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        return iter(self._metrics)


def _of_service(overview: Mapping[str, Any]) -> Iterator[Any]:
    from prometheus_client.metrics_core import Metric

    for family in families(overview):
        metric = Metric(family.name, family.meaning, family.kind)
        for suffix, labels, value in family.samples:
            metric.add_sample(family.name + suffix, dict(labels), value)
        yield metric


def _accepted(fields: bytes) -> str:
    """Return the value of the field Accept."""
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return value.strip().decode("latin-1")
    return ""


def _answer(
    status: int,
    content_type: str = "text/plain; charset=utf-8",
    body: bytes = b"",
    *,
    head_only: bool = False,
) -> bytes:
    body = body or f"{http.HTTPStatus(status).phrase}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1") + (b"" if head_only else body)
