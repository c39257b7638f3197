"""The first request to an app, which it must answer before it counts as started.

It comes over a pair of sockets, from this process itself, and is none of the requests that are counted,
that drain, or after which a worker is replaced.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.config import Config

from sockact.engines.bounds import Bounds
from sockact.engines.connections import Connection
from sockact.engines.state import Graces, State
from sockact.errors import AppError
from sockact.settings import Settings
from sockact.tasks import cancel

REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def warm_up(config: Config, settings: Settings, app_state: dict[str, Any], limit: float) -> None:
    """Ask the app for `warmup_path`.

    Args:
        config: the app, and how it is served.
        settings: what to ask for.
        app_state: what the app put into its lifespan's state.
        limit: seconds that the answer may take.

    Raises:
        AppError: there was none in time, or one that says neither success nor where else to go.
    """
    path = settings.warmup_path
    apart = State(settings.linger, Graces(), Bounds.of(settings), lambda: None)
    try:
        async with asyncio.timeout(limit):
            status = await _ask(partial(Connection, config, apart, app_state), path)
            while apart.tasks:  # what the app does when it has answered
                await asyncio.wait(apart.tasks)
    except TimeoutError:
        within = f"within the {settings.start_timeout:g} s of start_timeout"
        raise AppError(f"warmup_path={path}: the app was not done with it {within}") from None
    finally:
        await cancel(apart.tasks)
    if not 200 <= status < 400:
        raise AppError(f"warmup_path={path}: the app answered {status}: expected 2xx or 3xx")


async def _ask(protocol: Callable[[], Connection], path: str) -> int:
    """Return the status of the app's answer, when that has ended."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(protocol, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        writer.write(REQUEST.format(path=path).encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1])
