"""The check for green threads: asyncio cannot work where they have replaced functions of Python.

`gevent.monkey.patch_all()`, and eventlet's, put functions of their own into Python's modules. asyncio's
event loop then blocks in them, and waits for work that they only do when it does not block.
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
    """Return the library that has replaced a function, and that function; empty for none."""
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
    """Raise AppError if a library has replaced one."""
    if what := patched():
        raise AppError(_explained(what))


class Watch:
    """Logs once that a library has done so while this process serves, when it is too late to refuse."""

    def __init__(self) -> None:
        self._said = False

    def look(self) -> None:
        """Check; called often, and cheap."""
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
