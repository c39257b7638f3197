"""Refuses to serve where green threads have taken the place of what asyncio stands on.

`gevent.monkey.patch_all()`, and eventlet's, put functions of their own into Python's modules. asyncio's
event loop then waits in them for what they would only do if it did not wait.
"""

from __future__ import annotations

import _thread
import logging
import select
import socket

from sockact.errors import AppError

_MAKERS = ("gevent", "eventlet")

logger = logging.getLogger(__package__)


def patched() -> str:
    """Return who has put something of their own in the place of what is needed here, and of what."""
    found = {
        "socket.socket": socket.socket,
        "select.select": select.select,
        "_thread.start_new_thread": _thread.start_new_thread,
    }
    for name, each in found.items():
        maker = (getattr(each, "__module__", None) or "").partition(".")[0]
        if maker in _MAKERS:
            return f"{maker} has replaced {name}"
    return ""


def refuse() -> None:
    """Raise AppError if somebody has."""
    if what := patched():
        raise AppError(_explained(what))


class Watch:
    """Says once that somebody has done so while this process serves, when it is too late to refuse."""

    def __init__(self) -> None:
        self._said = False

    def look(self) -> None:
        """Look, at the price of a moment."""
        if not self._said and (what := patched()):
            self._said = True
            logger.error("%s; while this process serves, which may hang from now on", _explained(what))


def _explained(what: str) -> str:
    # gunicorn 26 has dropped its workers for eventlet.
    server = "gunicorn -k gevent ..." if what.startswith("gevent") else "PROGRAM ARGUMENT..."
    return (
        f"{what} (monkey patching): asyncio's event loop, by which sockact serves, needs Python's own. "
        "Leave it out, threads run a WSGI app; or let a server of that kind serve, which sockact "
        f"supervises: sockact run -- {server}"
    )
