"""A service manager for tests: it starts a program as systemd would, and hears what it says.

Its parts are sockact's own (`fds.spawn`, `NotifySocket`, `DescriptorStore`); the machine tests put the real
systemd in its place.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sockact.activate.store import DescriptorStore
from sockact.process.ledger import is_past
from sockact.protocols.notify import Notification, NotifySocket
from sockact.sockets import fds
from sockact.sockets.fds import Listener

CHECKOUT = Path(__file__).parents[2]

T = TypeVar("T")

LIMIT = 20.0
"""Seconds that a test waits for an event before it gives up; far beyond what any of them takes."""

PAUSE = 0.002
"""Seconds between two looks."""


def listening(address: str = "127.0.0.1", name: str = "web") -> Listener:
    """Open a listening TCP socket on a free port, as a socket unit would."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((address, 0))
    sock.listen(4096)
    return Listener.of(sock, name)


def wait_ended(pid: int) -> None:
    """Wait for the end of a process that need not be a child; raises ProcessLookupError if it has gone."""
    pidfd = os.pidfd_open(pid)
    try:
        ended = select.poll()  # not select(2), whose descriptors are below 1024
        ended.register(pidfd)
        assert ended.poll(1000 * LIMIT), f"{pid} still runs"
    finally:
        os.close(pidfd)


def wait_until(true: Callable[[], T | None], limit: float = LIMIT) -> T:
    """Ask again and again until it is so; with a pause, for the one that is waited for needs a CPU too.

    Returns:
        The first answer that is true.
    """
    deadline = time.monotonic() + limit
    while not (answer := true()):
        assert time.monotonic() < deadline
        time.sleep(PAUSE)
    return answer


def open_descriptors(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_sockets(pid: int) -> int:
    """Return how many of them are sockets."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            count += link.readlink().name.startswith("socket:")
    return count


def resident(pid: int) -> int:
    """Return how many bytes of memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Manager:
    """Starts one program, and waits for what it says and how it ends.

    Args:
        log: the file that takes the program's stderr.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0
        self.most: int | None = None
        self.heard: list[Notification] = []
        self._store = DescriptorStore(most=10_000)
        self._notify = NotifySocket(stores=True)
        self._changed = threading.Condition()
        self._closing = os.eventfd(0)
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()
        self._returned = 0
        self._words = itertools.count()
        self._pidfd = -1

    @property
    def stored(self) -> list[Listener]:
        """The descriptors that the program has stored, but for its statistics."""
        return [each for each in self._store.listeners if not is_past(each)]

    def start(self, argv: Sequence[str], listeners: Sequence[Listener] = (), **environ: str) -> int:
        """Start a program with `listeners` passed, and return its PID.

        If it serves, it serves by itself, unless SOCKACT_WORKERS or an option says otherwise.
        """
        base = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
        base["SOCKACT_WORKERS"] = "0"
        with_log = ["/bin/sh", "-c", 'exec 2>>"$0"; exec "$@"', str(self.log), *argv]
        environ = {**base, "NOTIFY_SOCKET": self._notify.address, **environ}
        self.pid = fds.spawn(with_log, [*listeners, *self._store.listeners], environ, most=self.most)
        self._pidfd = os.pidfd_open(self.pid)
        return self.pid

    def sockact(self, app: str, *options: str, listeners: Iterable[Listener] = (), **environ: str) -> int:
        """Start `sockact run APP` with the working directory's app."""
        command = [sys.executable, "-m", "sockact", "run", *options, app]
        return self.start(command, list(listeners), **environ)

    def wait_for(self, name: str, value: str = "", timeout: float = LIMIT) -> Notification:
        """Return the next notification, not yet returned, in which `name` begins with `value`."""
        return self.wait_until(
            lambda message: name in message.assignments and message.assignments[name].startswith(value),
            f"{name}={value}",
            timeout,
        )

    def wait_until(
        self, wanted: Callable[[Notification], bool], what: str, timeout: float = LIMIT
    ) -> Notification:
        """Return the next notification, not yet returned, that is `wanted`."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                while self._returned < len(self.heard):
                    self._returned += 1
                    if wanted(self.heard[self._returned - 1]):
                        return self.heard[self._returned - 1]
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{what} was not said\n{self.report()}")

    def wait_ready(self) -> Notification:
        """Wait for READY=1."""
        return self.wait_for("READY", "1")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        signal.pidfd_send_signal(self._pidfd, number)

    @property
    def running(self) -> bool:
        """True until the program has ended."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def wait_exit(self, timeout: float = LIMIT) -> int:
        """Wait for the end, and return the exit status, or minus the signal."""
        assert select.select([self._pidfd], [], [], timeout)[0], f"still running\n{self.report()}"
        self.catch_up()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        self._pidfd = -1
        return os.waitstatus_to_exitcode(status)

    def catch_up(self) -> None:
        """Wait until all that was sent so far has been heard: a word of our own comes last."""
        word = f"{next(self._words)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(f"X_LAST={word}".encode(), self._notify.address.replace("@", "\0"))
        with self._changed:
            assert self._changed.wait_for(lambda: self.said("X_LAST")[-1:] == [word], LIMIT)

    def said(self, name: str) -> list[str]:
        """Return all values of an assignment that were heard, in order."""
        return [message.assignments[name] for message in self.heard if name in message.assignments]

    def stderr(self) -> str:
        """Return what the program has written so far."""
        return self.log.read_text() if self.log.exists() else ""

    def report(self) -> str:
        """Say all that is known of the program, for a failed assertion."""
        heard = "\n".join(str(dict(message.assignments)) for message in self.heard)
        return f"heard:\n{heard}\nstderr:\n{self.stderr()}"

    def close(self) -> None:
        """End the program if it still runs."""
        if self._pidfd >= 0:
            self.signal(signal.SIGKILL)
            self.wait_exit()
        os.eventfd_write(self._closing, 1)
        self._reader.join()
        os.close(self._closing)
        self._store.close()
        self._notify.__exit__()

    def _listen(self) -> None:
        """Read all the time, as a manager does: its queue holds few messages."""
        while self._closing not in select.select([self._notify.fileno(), self._closing], [], [])[0]:
            while (message := self._notify.receive()) is not None:
                with self._changed:
                    self._store.hear(message)
                    self.heard.append(message)
                    self._changed.notify_all()
