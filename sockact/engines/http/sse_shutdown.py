"""Tells libraries that rely on uvicorn's server that the process drains.

sse-starlette, and libraries modelled on it, replace `uvicorn.Server.handle_exit` by their own function, and
end their streams when it is called. No uvicorn server runs here, so it is called in its place. Without
uvicorn, sse-starlette has a flag that can be set.
"""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

logger = logging.getLogger(__package__)


class _NoServer:
    """Stands for a server that does nothing; every attribute of it is an empty list."""

    def __getattr__(self, name: str) -> list[Any]:
        return []


def announce_shutdown() -> None:
    """Tell the libraries that the app has imported."""
    status = getattr(sys.modules.get("sse_starlette.sse"), "AppStatus", None)
    if status is not None and getattr(status, "enable_automatic_graceful_drain", True):
        status.should_exit = True
    server = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    handle = getattr(server, "handle_exit", None)
    if handle is None or getattr(handle, "__module__", "") == "uvicorn.server":
        return
    try:
        handle(_NoServer(), signal.SIGTERM, None)
    except Exception:  # of a library: whatever it is, the drain goes on
        logger.exception("uvicorn.Server.handle_exit, which a library has replaced, failed")
