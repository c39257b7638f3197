"""A command of sockact, or another program, on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.manager import CHECKOUT, LIMIT

CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x07\x08\r]")
"""What a terminal does not show. Source: ECMA-48, section 5.4."""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd
        self.shown = ""

    @property
    def plain(self) -> str:
        """What the program has written, without bells, colours and movements."""
        return CONTROL.sub("", self.shown)

    def wait_for(self, text: str) -> None:
        """Read until the program has written a text."""
        deadline = time.monotonic() + LIMIT
        while text not in self.shown and text not in self.plain:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self._fd], [], [], left)[0], self.shown
            assert left, self.shown
            try:
                self.shown += os.read(self._fd, 65536).decode()
            except OSError as error:  # EIO: all that had the terminal have ended
                raise AssertionError(f"ended: {self.shown}") from error

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_exit(self) -> int:
        """Return the exit status."""
        try:
            while chunk := os.read(self._fd, 65536):
                self.shown += chunk.decode()
        except OSError:
            pass  # EIO: all that had the terminal have ended
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return status


@contextmanager
def on_terminal(directory: Path, *words: str, **environ: str) -> Iterator[Terminal]:
    with program_on_terminal(
        directory, sys.executable, "-m", "sockact", *words, PYTHONPATH=str(CHECKOUT), **environ
    ) as terminal:
        yield terminal


@contextmanager
def program_on_terminal(directory: Path, *command: str, **environ: str) -> Iterator[Terminal]:
    base = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
    pid, fd = pty.fork()
    if not pid:
        os.chdir(directory)
        os.execvpe(command[0], command, {**base, **environ})
    terminal = Terminal(pid, fd)
    try:
        yield terminal
    finally:
        if terminal.pid:
            os.kill(pid, signal.SIGKILL)
            terminal.wait_exit()
        os.close(fd)
