"""Tells libraries that rely on uvicorn's server that the process drains.

sse-starlette, and libraries modelled on it, replace `uvicorn.Server.handle_exit` by their own function, and
end their streams when it is called. No uvicorn server runs here, so it is called on one that does nothing.
"""

from __future__ import annotations

import logging
import signal

from uvicorn.config import Config
from uvicorn.server import Server

logger = logging.getLogger(__package__)


def announce_shutdown(config: Config) -> None:
    """Call uvicorn's `handle_exit`, or the function that replaces it."""
    try:
        Server(config).handle_exit(signal.SIGTERM, None)
    except Exception:  # of a library: whatever it is, the drain goes on
        logger.exception("uvicorn.Server.handle_exit, which a library has replaced, failed")
