"""The sockets that a program hands to `sockact.serve`, for the case that none are passed to it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from sockact.errors import AppError, UnavailableError, UsageError
from sockact.untrusted.text import told


def opened(sock: Any) -> Sequence[socket.socket]:
    """Return the sockets that the program has opened, or opens now.

    Args:
        sock: a socket, a list of sockets, or a function that opens them.

    Raises:
        UsageError: it is none of these.
        UnavailableError, AppError: the function has failed.
    """
    try:
        found = sock() if callable(sock) else sock
    except OSError as error:
        raise UnavailableError(f"sock={sock!r}: {error}") from error
    except Exception as error:
        raise AppError(f"sock={sock!r} failed: {told(error)}") from error
    every = list(found) if isinstance(found, list | tuple) else [found]
    if not every or not all(isinstance(each, socket.socket) and each.fileno() >= 0 for each in every):
        raise UsageError(f"sock={found!r}: expected an open socket, several in a list, or what opens them")
    return every
