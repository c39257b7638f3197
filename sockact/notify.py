"""Both ends of sd_notify(3): `Notifier` tells a service manager, `NotifySocket` is one.

The wire is one datagram of at most 4096 bytes to the Unix socket $NOTIFY_SOCKET: lines of
`NAME=value` in UTF-8. The kernel stamps the sender's PID on it (SCM_CREDENTIALS), and nothing
else says who sent it.

Rule of this file: seconds inside, microseconds (`_USEC`) on the wire only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import sdnotify

from sockact.visible import visible

LIMIT = 4096
"""NOTIFY_BUFFER_MAX of systemd: a longer datagram is dropped whole, a READY=1 in it as well."""

STATUS_LIMIT = 512
"""Characters of a STATUS= that are sent; `systemctl status` shows it on one line."""

NAME_LIMIT = 255
"""Characters that a descriptor's name may have, as with FileDescriptorName= of systemd.socket(5)."""

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")

PATIENCE = 1.0
"""Seconds a notification that must not get lost waits for room in the manager's queue."""

logger = logging.getLogger(__name__)


class Notifier:
    """This process's voice to its service manager; silent when there is none.

    A notification never harms the service: what cannot be sent is logged once, and forgotten.

    It takes NOTIFY_SOCKET and the watchdog's variables out of the environment, so that no child
    speaks in our place.

    Attributes:
        variables: what it took, for a program that takes this one's place.
        watchdog_interval: seconds between two calls of `ping`; None when none are wanted.
        storage: how many descriptors the manager says that it stores; 0 when it says nothing.
        manager_is_systemd: whether the manager's socket is where systemd has its own.
    """

    def __init__(self) -> None:
        # /run/systemd/notify, or of a user's manager /run/user/1000/systemd/notify.
        self.manager_is_systemd = os.environ.get("NOTIFY_SOCKET", "").endswith("/systemd/notify")
        self.watchdog_interval = watchdog_interval(os.environ, os.getpid())
        self.storage = storage(os.environ)
        self._channel = _connect()
        self.variables = {key: os.environ.pop(key) for key in VARIABLES if key in os.environ}
        self._complained = False

    def fileno(self) -> int:
        """Return the descriptor of what the manager is spoken to on; below 0 where there is none."""
        return -1 if self._channel is None else int(self._channel.socket.fileno())

    def ready(self, status: str) -> None:
        """Say that start or reload is done, and requests are answered."""
        self._send(f"READY=1\n{_status(status)}", must=True)

    def reloading(self, status: str) -> None:
        """Say that a reload has begun; a `ready` or `stopping` has to follow in every outcome.

        systemd 253 and later compare MONOTONIC_USEC with the time of their own request, and
        want it in the same datagram.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}\n{_status(status)}", must=True)

    def stopping(self, status: str) -> None:
        """Say that the stop has begun; the last of the three, and final."""
        self._send(f"STOPPING=1\n{_status(status)}", must=True)

    def status(self, text: str) -> None:
        """Show one line of text in `systemctl status`."""
        self._send(_status(text))

    def store(self, descriptors: Sequence[int], name: str, *, must: bool = False) -> bool:
        """Give copies of open descriptors to the manager, which keeps them under `name` for a successor.

        Args:
            descriptors: at most 253, SCM_MAX_FD of the kernel.
            name: what a successor's LISTEN_FDNAMES call them.
            must: wait a moment for room in the manager's queue.

        Returns:
            Whether they are on their way; if not, the manager's queue is full, or nobody is there.

        Raises:
            ValueError: systemd would not take the name.

        Source: sd_pid_notify_with_fds(3), sd_notify(3) on FDSTORE=1 and FDNAME=.
        """
        _check_name(name)
        channel = self._channel
        if channel is None:
            return False

        def send() -> None:
            message = f"FDSTORE=1\nFDNAME={name}".encode()
            socket.send_fds(channel.socket, [message], list(descriptors))

        try:
            _when_writable(channel.socket, send) if must else send()
        except OSError as error:
            logger.debug("the service manager does not store %s: %s", name, error)
            return False
        return True

    def forget(self, name: str) -> None:
        """Let the manager close all that it stores under `name`.

        Raises:
            ValueError: systemd would not take the name.

        Source: sd_notify(3) on FDSTOREREMOVE=1 and FDNAME=.
        """
        _check_name(name)
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}", must=True)

    def extend(self, seconds: float) -> None:
        """Ask that the start, reload or stop under way may take that much longer from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def ping(self) -> None:
        """Send the watchdog ping."""
        self._send("WATCHDOG=1")

    def barrier(self, timeout: float) -> bool:
        """Wait until the manager has read all that was sent before; blocks the thread.

        Returns:
            Whether it has said so within `timeout` seconds; True without a manager.

        Source: sd_notify_barrier(3).
        """
        channel = self._channel
        if channel is None:
            return True
        try:
            ours, theirs = os.pipe()
        except OSError as error:  # no descriptor is left
            self._complain(error)
            return False
        try:
            # Not systemd.daemon.notify: it holds the GIL while it waits for room in the queue, so
            # that a manager which does not read for a while would stop every thread of the service.
            _when_writable(
                channel.socket, lambda: socket.send_fds(channel.socket, [b"BARRIER=1"], [theirs])
            )
        except OSError as error:
            self._complain(error)
            os.close(ours)
            return False
        finally:
            os.close(theirs)
        try:
            return _hung_up(ours, timeout)  # that is, the manager has closed its copy
        finally:
            os.close(ours)

    def _send(self, state: str, *, must: bool = False) -> None:
        channel = self._channel
        if channel is None:
            return
        # sdnotify encodes Latin-1. UTF-8 read as Latin-1 leaves it as UTF-8.
        text = state.encode("utf-8").decode("latin-1")
        try:
            if must:
                _when_writable(channel.socket, lambda: channel.notify(text))
            else:
                channel.notify(text)
        except BlockingIOError:
            if must:
                self._complain(BlockingIOError("its queue stays full"))
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            logger.warning("the service manager was not notified: %s", error)
            self._complained = True


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two watchdog pings, half of what the manager allows, or None.

    Source: sd_watchdog_enabled(3).
    """
    usec = environ.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdigit() and len(usec) < 20 and int(usec)):
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(usec) / 1_000_000 / 2


@dataclass(frozen=True, slots=True)
class Notification:
    """One datagram that a `NotifySocket` received.

    Attributes:
        pid: the sender, as the kernel says; 0 when it must not be believed.
        assignments: its `NAME=value` lines; of a repeated name the first one.
        stored: the open descriptors that came with FDSTORE=1, which now belong to the receiver.
    """

    pid: int
    assignments: Mapping[str, str]
    stored: tuple[int, ...] = ()

    def close(self) -> None:
        """Close what nobody wants to keep."""
        for fd in self.stored:
            os.close(fd)


class NotifySocket:
    """The manager's end: a socket whose `address` a service gets as NOTIFY_SOCKET.

    It has an abstract name, chosen by the kernel: nothing to unlink, and nothing to clash with.
    Descriptors that come with a datagram are closed at once, which is all a BARRIER=1 asks for.

    Args:
        stores: whether those that come with FDSTORE=1 are kept.
    """

    def __init__(self, *, stores: bool = False) -> None:
        self._stores = stores
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind("")  # an empty name asks for one: unix(7), "Autobind feature"
        self.address = "@" + self._sock.getsockname()[1:].decode("ascii")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the address up."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the descriptor to wait on until a notification can be read."""
        return self._sock.fileno()

    def receive(self) -> Notification | None:
        """Read one notification; None when there is none. A cut one, or one of nobody, has the PID 0."""
        room = socket.CMSG_SPACE(struct.calcsize("3i")) + socket.CMSG_SPACE(253 * struct.calcsize("i"))
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(LIMIT, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        pid = 0
        passed: list[int] = []
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid = struct.unpack("3i", payload)[0]
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                passed += [fd for (fd,) in struct.iter_unpack("i", payload[: len(payload) // 4 * 4])]
        if flags & socket.MSG_TRUNC:
            pid = 0
        said = parse(data) if pid else {}
        notification = Notification(pid, said, tuple(passed))
        whole = not flags & socket.MSG_CTRUNC  # else this process has run out of descriptors
        if self._stores and whole and said.get("FDSTORE") == "1":
            return notification
        notification.close()
        return Notification(notification.pid, said)


def storage(environ: Mapping[str, str]) -> int:
    """Return how many descriptors the manager stores for its service; 0 if it does not say.

    systemd says it from version 254 on; for an older one the unit has to.

    Source: sd_notify(3), FDSTORE in systemd.exec(5).
    """
    text = environ.get("FDSTORE", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def parse(data: bytes) -> dict[str, str]:
    """Read the lines of a notification, made visible; what is not `NAME=value` in UTF-8 is left out."""
    assignments: dict[str, str] = {}
    for line in data.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if name and equals:
            with contextlib.suppress(UnicodeDecodeError):
                assignments.setdefault(name.decode("ascii"), visible(value.decode("utf-8")))
    return assignments


def one_line(text: str) -> str:
    """Return a text as the value of one assignment: printable, in one line, and not too long."""
    # A line feed would begin another assignment: an error text must not be able to say MAINPID=.
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= STATUS_LIMIT else line[: STATUS_LIMIT - 1] + "…"


def _check_name(name: str) -> None:
    """Raise ValueError unless it may be a descriptor's name: systemd calls all others "stored"."""
    if not (0 < len(name) <= NAME_LIMIT and name.isascii() and name.isprintable() and ":" not in name):
        raise ValueError(
            f"the name of a descriptor is printable ASCII without a colon, at most {NAME_LIMIT}: {name!r}"
        )


def _connect() -> sdnotify.SystemdNotifier | None:
    if not os.environ.get("NOTIFY_SOCKET"):
        return None
    try:
        # debug: without it sdnotify swallows every exception, SystemExit included.
        channel = sdnotify.SystemdNotifier(debug=True)
    except OSError as error:
        logger.warning("NOTIFY_SOCKET=%s cannot be reached: %s", os.environ["NOTIFY_SOCKET"], error)
        return None
    # A full queue of the manager must not stop the loop that serves.
    channel.socket.setblocking(False)
    return channel


def _when_writable(sock: socket.socket, send: Callable[[], object]) -> None:
    """Send, and if the manager's queue is full, once more when it has room again."""
    try:
        send()
    except BlockingIOError:
        poller = select.poll()  # select(2) knows no descriptor above 1023, and thousands may be passed
        poller.register(sock, select.POLLOUT)
        poller.poll(PATIENCE * 1000)
        send()


def _status(text: str) -> str:
    return f"STATUS={one_line(text)}"


def _hung_up(fd: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(fd, 0)  # POLLHUP is always reported
    return bool(poller.poll(timeout * 1000))
