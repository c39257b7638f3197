"""systemd socket activation for Python services.

`serve` runs an app on the sockets that the service manager passed; `adopt` only takes them over.
The rest is for the app's code: `hooks`, which run as its process starts, drains and ends, and what it can
ask of that process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sockact import hooks
from sockact.config.logs import LogHandler
from sockact.errors import SockactError, UsageError
from sockact.handover.asgi import MovableWebSockets, hand_over, movable
from sockact.handover.envelope import Handover, Moving
from sockact.process import command as _  # noqa: F401  # notes how the program was started, before that changes it
from sockact.process import refused_places
from sockact.protocols.notify import Notifier
from sockact.runtime import activated, addresses, background, draining, request_reload, role
from sockact.sockets import fds
from sockact.sockets.fds import Kind, Listener, adopt
from sockact.system import bundled, signals

if TYPE_CHECKING:
    from typing import Unpack

    from sockact.config.keywords import SettingsKeywords

__all__ = [
    "Handover",
    "Kind",
    "Listener",
    "LogHandler",
    "MovableWebSockets",
    "Moving",
    "Notifier",
    "SockactError",
    "activated",
    "addresses",
    "adopt",
    "background",
    "draining",
    "hand_over",
    "hooks",
    "movable",
    "request_reload",
    "role",
    "serve",
]
__version__ = "0.1.0"

bundled.find()
signals.let_in(os.environ, os.getpid())
fds.shut_in(os.environ, os.getpid())


def serve(app: object, /, *, sock: Any = None, **settings: Unpack[SettingsKeywords]) -> None:
    """Serve an app until the process is told to stop.

    Sockets that a service manager passed by LISTEN_FDS are used; without any, `listen` is bound.
    By default the process turns itself into a supervisor, which keeps its PID and forgets the app, and
    the program is run again, up to this call, by each of the workers. With `workers=0`, or where there
    is no command to repeat, this process serves.

    SIGTERM and SIGINT drain, and then a worker returns from here. SIGHUP reloads: the program is run
    again, by new workers or, with `workers=0`, in this process.

    Args:
        app: an ASGI or WSGI app, a handler of raw connections or datagrams (see `sockact.apps.kinds`), or a
            string `module:attribute`; or a mapping from `FileDescriptorName=` to one of these.
        sock: where to listen if no socket was passed: a socket, several in a list, or a function that opens
            them. A program that has opened one itself cannot be run again: this process then serves, and
            refuses to reload. A function is called by the main process alone.
        settings: any field of `sockact.config.settings.Settings`; the environment variables SOCKACT_…
            fill in those that are not given.

    Raises:
        SystemExit: the app, a socket or a setting failed; the reason is in the log and in the
            service's status, the code is an `exit_status` of `sockact.errors`. It is 64 in a process that
            multiprocessing has started from the program, or that was forked from one that serves.
    """
    refused_places.require_own_thread()
    try:
        refused_places.require_own_process()
    except UsageError as error:
        raise SystemExit(error.exit_status) from error
    signals.remember()
    # Here and not above: `adopt` alone needs neither an HTTP engine nor an event loop.
    from sockact import roles

    roles.serve(app, settings, sock)
