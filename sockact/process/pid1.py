"""PID 1 of a PID namespace whose service serves by itself: a process of its own, the service's parent.

Orphans become children of PID 1, and cannot be told from those that the app has started and waits for. So
the service must not be PID 1. This program is, instead: it reaps all that ends, passes signals and
notifications on, and ends as the service does, and with it the namespace. A service that finds itself to be
PID 1 executes it.

Source: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence

from sockact.protocols.environment import CHILDREN
from sockact.sockets import fds
from sockact.system import private_folder, signals
from sockact.untrusted import ancillary

PID = 1

BLOCKED = "--blocked"
"""The option for a service that is sockact, which unblocks signals when its handlers are in place."""

SEND_TIMEOUT = 1.0
"""Seconds that a notification waits for room in the manager's queue."""

KILLED = 128
"""Exit status after a signal, plus its number, as shells write it: PID 1 cannot die of one."""

NOTIFICATION_LIMIT = 65536
"""Bytes of a notification; the manager drops one that is too long for it."""


def command(argv: Sequence[str], *, ours: bool) -> tuple[str, ...]:
    """Return the command that starts `argv` as its child.

    -P: a module of the program that has the name of one of Python's is not imported here.
    """
    return (sys.executable, "-P", "-m", "sockact.process.pid1", *([BLOCKED] if ours else []), "--", *argv)


def main(words: Sequence[str]) -> int:
    """Start the service, and stay until it has ended; return its exit status."""
    wakeup = _listen_to_signals()
    end = list(words).index("--")
    passed = fds.adopt()
    with _relay(os.environ) as relay:
        blocked = signals.REMEMBERED if BLOCKED in words[:end] else ()
        environ = {key: value for key, value in os.environ.items() if key not in ("WATCHDOG_PID", CHILDREN)}
        if relay is not None:
            environ["NOTIFY_SOCKET"] = relay.address
        child = fds.spawn(words[end + 1 :], passed, environ, blocked=blocked)
        for listener in passed:
            listener.close()
        with contextlib.suppress(OSError):  # no terminal, or not ours
            os.tcsetpgrp(0, child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.HANDLED)
        return _stay(child, wakeup, relay)


def _stay(service: int, wakeup: int, relay: Relay | None) -> int:
    poller = select.poll()
    poller.register(wakeup, select.POLLIN)
    if relay is not None:
        poller.register(relay, select.POLLIN)
    while True:
        poller.poll()
        numbers = _read(wakeup)
        ended = _reap(service) if signal.SIGCHLD in numbers else None
        if relay is not None:
            relay.pass_on(service)  # its last notifications, too
        if ended is not None:
            return ended if ended >= 0 else KILLED - ended
        for number in numbers:
            if number != signal.SIGCHLD:
                os.kill(service, number)  # not reaped yet, so that the number is its own


class Relay:
    """Passes notifications of the service on, sent by this process: managers accept them from no other."""

    def __init__(self, address: str, sock: socket.socket, manager: socket.socket) -> None:
        self.address = address
        self._sock = sock
        self._manager = manager

    def fileno(self) -> int:
        """Return the descriptor to wait on until a notification can be read."""
        return self._sock.fileno()

    def pass_on(self, service: int) -> None:
        """Pass on the notifications that wait."""
        while True:
            try:
                received = ancillary.receive(self._sock, NOTIFICATION_LIMIT)
            except BlockingIOError:
                return
            try:
                if received.pid == service:
                    with contextlib.suppress(OSError):  # it does not listen any more
                        socket.send_fds(self._manager, [received.data], received.descriptors)
            finally:
                for fd in received.descriptors:
                    os.close(fd)


@contextlib.contextmanager
def _relay(environ: Mapping[str, str]) -> Iterator[Relay | None]:
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        yield None
        return
    with contextlib.ExitStack() as opened:
        manager = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.settimeout(SEND_TIMEOUT)
        sock = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            path = private_folder.OWN.new("notify")
            if path is not None:
                opened.callback(private_folder.OWN.remove)
            sock.bind(path or "")
            ours = path or "@" + sock.getsockname()[1:].decode("ascii")
        except OSError as error:
            print(f"sockact: NOTIFY_SOCKET={address} cannot be passed on: {error}", file=sys.stderr)
            yield None
            return
        yield Relay(ours, sock, manager)


def _listen_to_signals() -> int:
    """Make each signal that comes write its number into a pipe; return the end to read them from."""
    ours, theirs = os.pipe()
    for fd in (ours, theirs):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    # SIGABRT is a manager's watchdog: the service writes its stacks upon it.
    for number in (*signals.HANDLED, signal.SIGABRT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return ours


def _read(wakeup: int) -> bytes:
    try:
        return os.read(wakeup, 4096)
    except BlockingIOError:
        return b""


def _reap(service: int) -> int | None:
    """Reap all that has ended; return the exit code of the service, once that has."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == service:
                ended = os.waitstatus_to_exitcode(status)
    return ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
