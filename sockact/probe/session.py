"""A run with everything around it: ended by signals, told on a terminal, and reported."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from typing import TextIO

from .account import Ledger
from .run import Result, RunPlan, run
from .words import duration


async def until_signal(
    plan: RunPlan,
    announce: Callable[[str], None],
    on_progress: Callable[[float, Ledger], object] = lambda *_: None,
) -> Result:
    """Run a plan until its end, or until SIGTERM or SIGINT; SIGUSR1 ends a window of the run.

    A second SIGTERM or SIGINT has its default effect, for users who do not wait for the report.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return await run(
        plan, stop, announce, lambda cut: loop.add_signal_handler(signal.SIGUSR1, cut), on_progress
    )


class Progress:
    """Tells how a run goes on: on a terminal in one line that changes, else in a line for each event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._on_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._event = "waiting until every client is served"

    def announce(self, event: str) -> None:
        """Tell an event."""
        self._event = event
        if not self._on_terminal:
            self._write(f"{event}\n")

    def tell(self, now: float, ledger: Ledger) -> None:
        """Tell the figures at a time of the run."""
        if self._on_terminal:
            requests = sum(account.requests for account in ledger.accounts.values())
            lost = sum(account.lost for account in ledger.accounts.values())
            stall = duration(ledger.stall.longest)
            line = (
                f"{now:5.1f} s  {requests:,} requests  {lost:,} lost  longest stall {stall}  {self._event}"
            )
            # One less than there are columns: a full line would begin a new one.
            self._write(f"\r\x1b[2K{line[: shutil.get_terminal_size().columns - 1]}")

    def close(self) -> None:
        """Remove the line."""
        if self._on_terminal:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
