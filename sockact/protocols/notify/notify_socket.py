"""The manager's end of the notify protocol."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self

from sockact.protocols.notify.wire import DATAGRAM_LIMIT, parse
from sockact.untrusted import ancillary

logger = logging.getLogger("sockact.protocols")


class Notification(NamedTuple):
    """One datagram that a `NotifySocket` received.

    Attributes:
        pid: the sender, as the kernel tells; 0 when it must not be believed.
        assignments: its `NAME=value` lines; of a repeated name the first one.
        stored: the open descriptors that came with FDSTORE=1, which now belong to the receiver.
    """

    pid: int
    assignments: Mapping[str, str]
    stored: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the descriptors, which nobody keeps."""
        ancillary.close(self.stored)


class NotifySocket:
    """A socket whose `address` a service gets as NOTIFY_SOCKET.

    Descriptors that come with a datagram are closed at once, which is all a BARRIER=1 asks for. (So they
    cannot be refused, SO_PASSRIGHTS in `ancillary`: the sender of one would fail.)

    Args:
        path: its path; else it has an abstract name, chosen by the kernel, which anyone can send to.
        stores: whether descriptors that come with FDSTORE=1 are kept.
        bound: such a socket, bound by the process before this one; None to bind a new one.

    Attributes:
        path: its path, if this process has bound it to one.
        address: its address.

    Raises:
        OSError: it cannot be bound.
    """

    def __init__(
        self, path: str | None = None, *, stores: bool = False, bound: socket.socket | None = None
    ) -> None:
        self._stores = stores
        self._sock = _bound_to(path) if bound is None else bound
        self._sock.setblocking(False)
        self.path = path
        self.address = path or _address(self._sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a path stays for its owner to remove."""
        ancillary.close_socket(self._sock)

    def fileno(self) -> int:
        """Return the descriptor to wait on until a notification can be read."""
        return self._sock.fileno()

    def receive(self) -> Notification | None:
        """Read one notification; None when there is none. A cut one, or one of nobody, has the PID 0.

        It never raises: whatever others send, the supervisor must get the notifications that follow.
        """
        try:
            data, passed, pid, flags, _ = ancillary.receive(self._sock, DATAGRAM_LIMIT)
        except BlockingIOError:
            return None
        except OSError as error:
            logger.debug("a notification could not be read: %s", error)
            return None
        said = {} if flags & socket.MSG_TRUNC or not pid else parse(data)
        whole = not flags & socket.MSG_CTRUNC  # else this process has run out of descriptors
        if self._stores and whole and said.get("FDSTORE") == "1":
            return Notification(pid, said, tuple(passed))
        ancillary.close(passed)
        return Notification(0 if flags & socket.MSG_TRUNC else pid, said)


def _bound_to(path: str | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        os.fchmod(sock.fileno(), 0o600)  # which bind(2) gives the file, less the umask
        sock.bind(path or "")  # an empty name asks for one: unix(7), "Autobind feature"
        if path:
            os.chmod(path, 0o600)  # an app's umask may have left its own user nothing
    except BaseException:
        sock.close()
        raise
    return sock


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    return name if isinstance(name, str) else "@" + os.fsdecode(name[1:])
