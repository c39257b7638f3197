"""systemd socket activation for Python services.

`serve` runs an app on the sockets that the service manager passed; `adopt` only takes them over.
"""

from __future__ import annotations

from typing import Any

from sockact import signals
from sockact.errors import SockactError
from sockact.fds import Kind, Listener, adopt
from sockact.notify import Notifier

__all__ = ["Kind", "Listener", "Notifier", "SockactError", "adopt", "serve"]
__version__ = "0.1.0"


def serve(app: object, /, **settings: Any) -> None:
    """Serve an ASGI or WSGI app until the process is told to stop.

    Sockets that a service manager passed by LISTEN_FDS are used; without any, `listen` is bound.
    SIGTERM and SIGINT drain and return from here; SIGHUP reloads: the program is run again in this
    process, up to this call.

    Args:
        app: the app's callable, or a string `module:attribute`.
        settings: any field of `sockact.settings.Settings`; the environment variables SOCKACT_…
            fill in those that are not given.

    Raises:
        SystemExit: the app, a socket or a setting failed; the reason is in the log and in the
            service's status, the code is an `exit_status` of `sockact.errors`.
    """
    signals.block()
    # Here and not above: `adopt` alone needs neither uvicorn nor an event loop.
    from sockact.serving import serve as serve_here

    serve_here(app, **settings)
