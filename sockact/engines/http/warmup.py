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

from sockact.config.settings import Settings
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.engine_state import EngineState
from sockact.errors import AppError

REQUEST = "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


class _Asking(HttpConnection):
    """A connection with a given scheme in the app's scope."""

    __slots__ = ("_as_scheme",)

    def __init__(self, shared: EngineState, as_scheme: str) -> None:
        super().__init__(shared)
        self._as_scheme = as_scheme

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.scheme = self._as_scheme


async def warm_up(shared: EngineState, settings: Settings, limit: float) -> None:
    """Request `warmup_path` from the app.

    Args:
        shared: the app, and how it is served.
        settings: has the path.
        limit: seconds that the answer may take.

    Raises:
        AppError: no answer came in time, or one that is neither 2xx nor 3xx.
    """
    wanted = settings.warmup_path
    scheme, host, path = _parts(wanted)
    apart = shared.uncounted()
    try:
        async with asyncio.timeout(limit):
            status = await _ask(partial(_Asking, apart, scheme), REQUEST.format(host=host, path=path))
            await apart.idle()  # the app may work on, after its answer
    except TimeoutError:
        within = f"within the {settings.start_timeout:g} s of start_timeout"
        raise AppError(f"warmup_path={wanted}: the app was not done with it {within}") from None
    finally:
        await apart.cancel_running()
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
