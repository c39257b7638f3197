"""Runs commands while the service is loaded, such as `systemctl reload app`."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from .outcome import shown
from .pace import Clock
from .record import Mark
from .words import duration

KEPT_OUTPUT = 10_000
"""Bytes of a command's output that are read; of them one line is shown."""


@dataclass(frozen=True, slots=True)
class RunAction:
    """A command to run during the load, in words for the picture and as arguments."""

    label: str
    argv: tuple[str, ...]

    @classmethod
    def of_shell(cls, command: str) -> "RunAction":
        """Return the action for a line of shell."""
        label = shown(command)
        return cls(label if len(label) <= 40 else f"{label[:39]}…", ("/bin/sh", "-c", command))


async def perform_all(
    actions: tuple[RunAction, ...],
    around: float,
    limit: float,
    clock: Clock,
    cut: Callable[[], None],
    announce: Callable[[str], None],
) -> list[Mark]:
    """Perform actions one after another, with a pause before, between and after; then end the run.

    An action under way is finished also if the run ends meanwhile: half a restart helps nobody.

    Args:
        actions: the actions.
        around: the length of a pause in seconds.
        limit: the seconds that each action may take.
        clock: the time of the run.
        cut: called when an action begins and when it ends.
        announce: called with a line about each of both.
    """
    marks = []
    await clock.sleep_until(clock.now() + around)
    for action in actions:
        if clock.ended.done():
            break
        cut()
        announce(f"{action.label}: begins")
        mark = await perform(action, limit, clock)
        cut()
        marks.append(mark)
        result = "ended by force" if mark.status is None else f"exit status {mark.status}"
        announce(f"{action.label}: {result} after {duration(mark.ended - mark.began)}")
        await clock.sleep_until(clock.now() + around)
    clock.end()
    return marks


async def perform(action: RunAction, limit: float, clock: Clock) -> Mark:
    """Run a command, and return its mark; after `limit` seconds, the processes of its group are ended."""
    began = clock.now()
    try:
        # In a session of its own, so that Ctrl-C ends the load and not the command.
        process = await asyncio.create_subprocess_exec(
            *action.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Mark(action.label, began, clock.now(), 127, shown(str(error)))
    output = asyncio.create_task(_output(process))
    status: int | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            status = await process.wait()
    ended = clock.now()
    if status is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    # A process that it left behind may keep the pipe open: what has been read until now is enough.
    done, _ = await asyncio.wait((output,), timeout=0.2)
    output.cancel()
    return Mark(action.label, began, ended, status, output.result() if done else "")


async def _output(process: asyncio.subprocess.Process) -> str:
    """Return what a command has written, in one line; more than is kept is read and discarded."""
    assert process.stdout is not None
    kept = b""
    while data := await process.stdout.read(KEPT_OUTPUT):
        kept += data[: KEPT_OUTPUT - len(kept)]
    return shown(" ".join(kept.decode(errors="replace").split()))
