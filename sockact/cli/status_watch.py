"""`sockact status --watch`: a screen that is drawn anew each second."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from sockact.errors import UnavailableError, UsageError
from sockact.protocols import overview
from sockact.untrusted.text import visible

INTERVAL = 1.0
"""Seconds between two looks."""

RELOADS = 5
"""The number of reloads that are remembered on the screen."""

_OTHER_SCREEN, _OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K\r\n", "\x1b[J"
"""Control sequences of terminals. Source: console_codes(4); xterm's, ctlseqs, for the other screen."""

Overview = Mapping[str, Any]


def watch(ask: Callable[[], Overview]) -> int:
    """Show a service until Ctrl-C.

    Args:
        ask: returns its overview, or raises UnavailableError.

    Raises:
        UsageError: stdout is no terminal.
        UnavailableError: there is no such service at the beginning.
    """
    if not sys.stdout.isatty():
        raise UsageError("--watch: expected a terminal; --json and --prometheus are for programs")
    screen = Screen()
    screen.note(ask())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    _write(_OTHER_SCREEN)
    try:
        while True:
            _write(_HOME + "".join(_cut(line) + _LINE_END for line in screen.lines()) + _BELOW)
            time.sleep(INTERVAL)
            try:
                screen.note(ask())
            except UnavailableError as error:
                screen.absent(str(error))
    finally:
        _write(_OWN_SCREEN)


class Screen:
    """The lines of the screen, from one look to the next."""

    def __init__(self) -> None:
        self._shown: Overview = {}
        self._absence = ""
        self._rate = 0.0
        self._counted: tuple[float, int, int] | None = None
        self._reloads: list[str] = []

    def note(self, service: Overview) -> None:
        """Take over a new overview."""
        now, requests, pid = time.monotonic(), service["requests"], service["pid"]
        if self._counted is not None and self._counted[2] == pid:
            since, before, _ = self._counted
            self._rate = max(requests - before, 0) / max(now - since, 0.001)
        self._counted = now, requests, pid
        self._shown, self._absence = service, ""
        if last := service["reload"]:
            line = f"{time.strftime('%H:%M:%S', time.localtime(last['at']))}  {last['text']}"
            if self._reloads[-1:] != [line]:
                self._reloads = [*self._reloads, line][-RELOADS:]

    def absent(self, reason: str) -> None:
        """Note that there is no answer; the last overview stays."""
        self._absence, self._rate = reason, 0.0

    def lines(self) -> list[str]:
        """Return what is shown now."""
        service = self._shown
        connections = sum(each["connections"] or 0 for each in service["workers"])
        done, refused = service["reloads"]["ok"], service["reloads"]["failed"]
        lines = [
            *overview.render({**service, "reload": None}).split("\n"),
            "",
            f"now {self._rate:.0f} requests/s, {connections} connections",
            f"since the start {service['requests']} requests, {done} reloads, {refused} refused",
        ]
        if isinstance(moved := service.get("handed_over"), int):
            lines.append(f"connections handed over: {moved}")
        if self._reloads:
            lines += ["", "last reloads", *(f"  {visible(line)}" for line in reversed(self._reloads))]
        if self._absence:
            lines += ["", f"no answer now: {visible(self._absence)}"]
        return [*lines, "", f"{time.strftime('%H:%M:%S')}, Ctrl-C ends"]


def _cut(line: str) -> str:
    return line[: os.get_terminal_size().columns or None]  # 0 where nobody has set it


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _leave(*_: object) -> None:
    sys.exit(0)
