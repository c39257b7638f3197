"""The warm-up request, which an app must answer before it counts as started.

This process sends it to itself over a socket pair. It is not counted, does not drain, and does not count
towards `max_requests`.

An app may serve some hosts only, or https only (Django's ALLOWED_HOSTS, SECURE_SSL_REDIRECT): a URL gives
the host and scheme of the request. No name is resolved, and nothing leaves the process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.config import Config

from sockact.config.settings import Settings
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.connection_state import Graces, State
from sockact.engines.http.timeouts import Bounds
from sockact.errors import AppError
from sockact.lifecycle.tasks import cancel

REQUEST = "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


class _Asking(HttpConnection):
    """A connection with a given scheme in the app's scope."""

    def __init__(self, *args: Any, as_scheme: str) -> None:
        super().__init__(*args)
        self._as_scheme = as_scheme

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.scheme = self._as_scheme  # type: ignore[assignment]  # http or https


async def warm_up(config: Config, settings: Settings, app_state: dict[str, Any], limit: float) -> None:
    """Request `warmup_path` from the app.

    Args:
        config: the app, and how it is served.
        settings: has the path.
        app_state: the app's lifespan state.
        limit: seconds that the answer may take.

    Raises:
        AppError: no answer came in time, or one that is neither 2xx nor 3xx.
    """
    wanted = settings.warmup_path
    scheme, host, path = _parts(wanted)
    apart = State(settings.linger, Graces(), Bounds.from_settings(settings))
    try:
        async with asyncio.timeout(limit):
            protocol = partial(_Asking, config, apart, app_state, as_scheme=scheme)
            status = await _ask(protocol, REQUEST.format(host=host, path=path))
            while apart.tasks:  # the app's tasks after its answer
                await asyncio.wait(apart.tasks)
    except TimeoutError:
        within = f"within the {settings.start_timeout:g} s of start_timeout"
        raise AppError(f"warmup_path={wanted}: the app was not done with it {within}") from None
    finally:
        await cancel(apart.tasks)
    if not 200 <= status < 400:
        raise AppError(f"warmup_path={wanted}: the app answered {status}: expected 2xx or 3xx")


def _parts(wanted: str) -> tuple[str, str, str]:
    """Return scheme, host and path of a URL, or of a path alone."""
    scheme, separator, rest = wanted.partition("://")
    if not separator or wanted.startswith("/"):
        return "http", "localhost", wanted
    host, _, path = rest.partition("/")
    return scheme, host, f"/{path}"


async def _ask(protocol: Callable[[], HttpConnection], request: str) -> int:
    """Send the request, and return the status of the complete answer."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(protocol, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        writer.write(request.encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1])
