"""The service's end of the notify protocol."""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Sequence

import sdnotify

from sockact.protocols.notify.backlog import QUEUE_TIMEOUT, Backlog
from sockact.protocols.notify.wire import VARIABLES, check_name, status_line, storage, watchdog_interval

logger = logging.getLogger("sockact.protocols")


class Notifier:
    """Notifies this process's service manager; does nothing when there is none.

    A notification never harms the service: a failure to send is logged once, and forgotten. While a manager
    does not read, notifications that must not get lost wait, in order, without holding up the caller; the
    others are dropped.

    It takes NOTIFY_SOCKET and the watchdog's variables out of the environment, so that no child
    notifies in our place.

    Attributes:
        variables: the variables that it took, for a program that takes this one's place.
        watchdog_interval: seconds between two calls of `ping`; None when none are expected.
        storage: how many descriptors the manager stores; 0 when it does not tell.
        manager_is_systemd: the manager's socket is where systemd has its own.
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
        """Return the descriptor of the socket to the manager; below 0 without a manager."""
        return -1 if self._channel is None else int(self._channel.socket.fileno())

    def close(self) -> None:
        """Close the socket, in a process that has another notifier by now."""
        if self._channel is not None:
            self._channel.socket.close()
            self._channel = None

    def ready(self, status: str) -> None:
        """Tell that start or reload is done, and requests are answered."""
        self._send(f"READY=1\n{status_line(status)}", must=True)

    def reloading(self, status: str) -> None:
        """Tell that a reload has begun; a `ready` or `stopping` has to follow in every outcome.

        systemd 253 and later compare MONOTONIC_USEC with the time of their own request, and
        expect it in the same datagram.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}\n{status_line(status)}", must=True)

    def stopping(self, status: str) -> None:
        """Tell that the stop has begun; the last of the three, and final."""
        self._send(f"STOPPING=1\n{status_line(status)}", must=True)

    def status(self, text: str) -> None:
        """Show one line of text in `systemctl status`."""
        self._send(status_line(text))

    def store(self, descriptors: Sequence[int], name: str, *, must: bool = False) -> bool:
        """Send copies of open descriptors to the manager, which keeps them under `name` for a successor.

        Args:
            descriptors: at most 253, SCM_MAX_FD of the kernel.
            name: their name in a successor's LISTEN_FDNAMES.
            must: wait a moment for room in the manager's queue.

        Returns:
            Whether they are on their way; if not, the manager's queue is full, or nobody is there.

        Raises:
            ValueError: systemd would not take the name.

        Source: sd_pid_notify_with_fds(3), sd_notify(3) on FDSTORE=1 and FDNAME=.
        """
        check_name(name)
        channel = self._channel
        if channel is None:
            return False
        message = f"FDSTORE=1\nFDNAME={name}".encode()
        try:
            if not self._backlog.wait_sent(QUEUE_TIMEOUT if must else 0):
                raise BlockingIOError("others wait before it")
            _send_descriptors(channel.socket, message, descriptors, wait=must)
        except OSError as error:
            logger.debug("the service manager does not store %s: %s", name, error)
            return False
        return True

    def forget(self, name: str) -> None:
        """Make the manager close all descriptors that it stores under `name`.

        Raises:
            ValueError: systemd would not take the name.

        Source: sd_notify(3) on FDSTOREREMOVE=1 and FDNAME=.
        """
        check_name(name)
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}", must=True)

    def extend(self, seconds: float) -> None:
        """Ask for this much more time, from now, for the start, reload or stop under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def restart_reset(self) -> None:
        """Make the manager count its automatic restarts from 0; systemd before 258 ignores it."""
        self._send("RESTART_RESET=1", must=True)

    def ping(self) -> None:
        """Send the watchdog ping."""
        self._send("WATCHDOG=1", must=True)

    def barrier(self, timeout: float) -> bool:
        """Wait until the manager has read all that was sent before; blocks the thread.

        Returns:
            Whether it did so within `timeout` seconds; True without a manager.

        Source: sd_notify_barrier(3).
        """
        if self._channel is None:
            return True
        if not self._backlog.wait_sent(timeout):
            return False
        try:
            ours = self._send_barrier()
        except OSError as error:
            self._complain(error)
            return False
        try:
            return _hung_up(ours, timeout)  # that is, the manager has closed its copy
        finally:
            os.close(ours)

    def _send_barrier(self) -> int:
        """Send one end of a pipe to the manager, which is to close it; return the other end."""
        assert self._channel is not None
        ours, theirs = os.pipe()
        try:
            # Not systemd.daemon.notify: it holds the GIL while it waits for room in the queue, so
            # that a manager which does not read for a while would stop every thread of the service.
            _send_descriptors(self._channel.socket, b"BARRIER=1", [theirs], wait=True)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return ours

    def flush(self) -> None:
        """Wait a moment for the backlog, before this process ends."""
        self._backlog.wait_sent(QUEUE_TIMEOUT)

    def _send(self, state: str, *, must: bool = False) -> None:
        if self._channel is not None:
            self._backlog.send(state, must=must)

    def _send_now(self, state: str) -> bool:
        """Send, and return whether there was room; one that cannot be sent at all counts as sent."""
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


def _send_descriptors(sock: socket.socket, message: bytes, fds: Sequence[int], *, wait: bool) -> None:
    """Send a notification with descriptors; if the queue is full, wait for room, and try once more."""
    try:
        socket.send_fds(sock, [message], list(fds))
    except BlockingIOError:
        if not wait:
            raise
        poller = select.poll()  # select(2) knows no descriptor above 1023, and thousands may be passed
        poller.register(sock, select.POLLOUT)
        poller.poll(QUEUE_TIMEOUT * 1000)
        socket.send_fds(sock, [message], list(fds))


def _hung_up(fd: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(fd, 0)  # POLLHUP is always reported
    return bool(poller.poll(timeout * 1000))
