"""`sockact activate` and `sockact dev`, as a user starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.manager import CHECKOUT, LIMIT, wait_until

PYTHON = (sys.executable, "-c")


class Activated:
    """One of these commands, which runs in a folder.

    Args:
        folder: its working directory.

    Attributes:
        pid: the command's process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder.parent / f"{folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0

    def start(self, command: str, *words: str, program: Sequence[str | Path] = (), **environ: str) -> None:
        """Start `sockact COMMAND WORD... -- PROGRAM`."""
        argv = [sys.executable, "-m", "sockact", command, *words, *(["--"] if program else []), *program]
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, cwd=self.folder, env={**base, **environ}, stdin=subprocess.DEVNULL, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait_line(self, pattern: str) -> re.Match[str]:
        """Return the next line, not yet returned, that matches; it has to end in a line feed."""
        expression = re.compile(rf"^{pattern}\n", re.MULTILINE)

        def found() -> re.Match[str] | None:
            return expression.search(self.log(), self._read)

        try:
            match = wait_until(lambda: found() or (self._ended() and (found() or "ended")))
            assert isinstance(match, re.Match)
        except AssertionError:
            raise AssertionError(f"{pattern!r} was not printed:\n{self.log()[self._read :]}") from None
        self._read = match.end()
        return match

    def address(self, name: str = "listen") -> tuple[str, int]:
        """Return host and port of a socket, as printed."""
        host, port = self.wait_line(rf".*\b{name}=(\S+):(\d+).*").groups()
        return host.strip("[]"), int(port)

    def started(self) -> int:
        """Wait for the next start of the program, and return its PID."""
        return int(self.wait_line(r"\w+: pid (\d+) started.*")[1])

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait_exit(self) -> int:
        assert self._process is not None
        try:
            return self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs:\n{self.log()}") from None

    def close(self) -> None:
        """End it if it still runs; the program then ends too."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # which no program of these tests handles
            try:
                self._process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None
