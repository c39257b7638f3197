"""Both ends of sd_notify(3): `Notifier` tells a service manager, `NotifySocket` is one.

The wire is one datagram of at most 4096 bytes to the Unix socket $NOTIFY_SOCKET: lines of
`NAME=value` in UTF-8. The kernel stamps the sender's PID on it (SCM_CREDENTIALS), and nothing
else says who sent it.

Rule of this file: seconds inside, microseconds (`_USEC`) on the wire only.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import sdnotify

from sockact.untrusted import ancillary
from sockact.untrusted.text import visible

LIMIT = 4096
"""NOTIFY_BUFFER_MAX of systemd: a longer datagram is dropped whole, a READY=1 in it as well."""

STATUS_LIMIT = 512
"""Characters of a STATUS= that are sent; `systemctl status` shows it on one line."""

NAME_LIMIT = 255
"""Characters that a descriptor's name may have, as with FileDescriptorName= of systemd.socket(5)."""

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")

PATIENCE = 1.0
"""Seconds in which a manager should make room in its queue: what goes with descriptors waits no longer, nor
does the end of this process, and after that the log says that it does not read."""

AGAIN = 0.02
"""Seconds until the next try to send what has found no room. Not poll(2): it is woken for a queue that
others fill."""

BACKLOG = 256
"""Notifications that wait for room, at most."""

logger = logging.getLogger(__package__)


class Notifier:
    """This process's voice to its service manager; silent when there is none.

    A notification never harms the service: what cannot be sent is logged once, and forgotten. What must not
    get lost, for a manager that does not read for a while, waits, in order, and without holding up who says
    it; the rest is left out meanwhile.

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
        full = BlockingIOError("its queue stays full")
        self._backlog = Backlog(self._send_now, lambda: self._complain(full))

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
            if not self._backlog.wait_sent(PATIENCE if must else 0):
                raise BlockingIOError("others wait before it")
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
        self._send("WATCHDOG=1", must=True)

    def barrier(self, timeout: float) -> bool:
        """Wait until the manager has read all that was sent before; blocks the thread.

        Returns:
            Whether it has said so within `timeout` seconds; True without a manager.

        Source: sd_notify_barrier(3).
        """
        channel = self._channel
        if channel is None:
            return True
        if not self._backlog.wait_sent(timeout):
            return False
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

    def flush(self) -> None:
        """Wait a moment until what must not get lost has left, before this process ends."""
        self._backlog.wait_sent(PATIENCE)

    def _send(self, state: str, *, must: bool = False) -> None:
        if self._channel is not None:
            self._backlog.send(state, must=must)

    def _send_now(self, state: str) -> bool:
        """Send, and return whether there was room; what cannot be sent at all counts as sent."""
        assert self._channel is not None
        try:
            # sdnotify encodes Latin-1. UTF-8 read as Latin-1 leaves it as UTF-8.
            self._channel.notify(state.encode("utf-8").decode("latin-1"))
        except BlockingIOError:
            return False
        except OSError as error:
            self._complain(error)
        return True

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            logger.warning("the service manager was not notified: %s", error)
            self._complained = True


class Backlog:
    """What waits for room in the manager's queue, and the thread that sends it; there is none without.

    Args:
        send: sends a notification; returns whether there was room.
        stuck: called when there is none for long.
    """

    def __init__(self, send: Callable[[str], bool], stuck: Callable[[], None]) -> None:
        self._send = send
        self._stuck = stuck
        self._waiting: list[str] = []
        self._changed = threading.Condition()
        self._begun = False

    def send(self, state: str, *, must: bool) -> None:
        """Send now if there is room, and nothing waits; else later if it must be, or not at all."""
        with self._changed:
            if not self._waiting and self._send(state):
                return
            # Once is enough of what would say the same twice: a ping.
            if must and len(self._waiting) < BACKLOG and self._waiting[-1:] != [state]:
                self._waiting.append(state)
                if len(self._waiting) == 1:
                    self._begin()

    def wait_sent(self, timeout: float) -> bool:
        """Wait until nothing waits any more; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._work, name="notify", daemon=True).start()
        except RuntimeError:  # no thread is to be had
            time.sleep(PATIENCE)
            self._send_waiting()
            self._waiting.clear()
        if not self._begun:
            self._begun = True
            atexit.register(self.wait_sent, PATIENCE)

    def _work(self) -> None:
        told, limit = False, time.monotonic() + PATIENCE
        while not self._send_waiting():
            if not told and time.monotonic() > limit:
                told = True
                self._stuck()
            time.sleep(10 * AGAIN if told else AGAIN)

    def _send_waiting(self) -> bool:
        """Send what there is room for; return whether that was all."""
        with self._changed:
            while self._waiting and self._send(self._waiting[0]):
                del self._waiting[0]
            self._changed.notify_all()
            return not self._waiting


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two watchdog pings, half of what the manager allows, or None.

    Source: sd_watchdog_enabled(3).
    """
    allowed = usec(environ.get("WATCHDOG_USEC"))
    if not allowed:
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return allowed / 2


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
        ancillary.close(self.stored)


class NotifySocket:
    """The manager's end: a socket whose `address` a service gets as NOTIFY_SOCKET.

    Descriptors that come with a datagram are closed at once, which is all a BARRIER=1 asks for. (So they
    cannot be refused, SO_PASSRIGHTS in `aside`: the sender of one would fail.)

    Args:
        path: where it is; else it has an abstract name, chosen by the kernel, which anyone can send to.
        stores: whether those that come with FDSTORE=1 are kept.

    Raises:
        OSError: it cannot be there.
    """

    def __init__(self, path: str | None = None, *, stores: bool = False) -> None:
        self._stores = stores
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            os.fchmod(self._sock.fileno(), 0o600)  # which bind(2) gives the file, less the umask
            self._sock.bind(path or "")  # an empty name asks for one: unix(7), "Autobind feature"
            if path:
                os.chmod(path, 0o600)  # an app's umask may have left its own user nothing
        except BaseException:
            self._sock.close()
            raise
        self.address = path or "@" + self._sock.getsockname()[1:].decode("ascii")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the address up; a path stays for its owner to remove."""
        ancillary.close_socket(self._sock)

    def fileno(self) -> int:
        """Return the descriptor to wait on until a notification can be read."""
        return self._sock.fileno()

    def receive(self) -> Notification | None:
        """Read one notification; None when there is none. A cut one, or one of nobody, has the PID 0.

        It never raises: what others send must not keep their supervisor from what follows.
        """
        try:
            data, passed, pid, flags, _ = ancillary.receive(self._sock, LIMIT)
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


def usec(text: str | None) -> float | None:
    """Return what an assignment in microseconds says, in seconds; None if it is no number of 64 bits."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) / 1_000_000


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
