"""Tells libraries that the process drains which know uvicorn's server only.

sse-starlette, and others after its model, put a function of their own in the place of
`uvicorn.Server.handle_exit`, and end their streams when it is called. Our signals are not uvicorn's, and no
server of its runs here: what they replaced is called for one that does nothing.
"""

from __future__ import annotations

import logging
import signal

from uvicorn.config import Config
from uvicorn.server import Server

logger = logging.getLogger(__package__)


def announce_shutdown(config: Config) -> None:
    """Let them know."""
    try:
        Server(config).handle_exit(signal.SIGTERM, None)
    except Exception:
        logger.exception("uvicorn.Server.handle_exit, which somebody has replaced, failed")
