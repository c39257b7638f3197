"""Helpers of tests that need no process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sockact.protocols.notify import Notifier
from sockact.systemd import unit_files
from tests.support.manager import LIMIT


async def settle() -> None:
    """Run what is ready in the loop."""
    for _ in range(4):
        await asyncio.sleep(0)


async def until(true: Callable[[], bool]) -> None:
    """Run the loop until something holds."""
    async with asyncio.timeout(LIMIT):
        while not true():
            await settle()


@contextlib.contextmanager
def only(number: int) -> Iterator[None]:
    """Limit this process to so many descriptors more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (fd for fd in itertools.count() if not os.path.exists(f"/proc/self/fd/{fd}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(itertools.islice(free, number)) + 1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def close(notifier: Notifier) -> None:
    """A process has one notifier, and keeps it to its end; a test has to tidy up."""
    assert notifier._channel is not None
    notifier._channel.socket.close()


def in_cgroup(cgroups: str, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make /proc say that this process is in these cgroups."""
    (proc / "self").mkdir()
    (proc / "self" / "cgroup").write_text(cgroups)
    monkeypatch.setattr(unit_files, "PROC", str(proc))


class RecordingStore:
    """A store with room for `capacity`; `taken` go into the manager's queue.

    Attributes:
        content: what it has.
        puts: how many it was offered.
        waited: whether somebody has waited for room in the queue.
    """

    def __init__(self, capacity: int = 100, taken: int = 100) -> None:
        self.content: list[int] = []
        self.puts = 0
        self.waited = False
        self.capacity = capacity
        self._taken = taken

    def put(self, descriptors: Sequence[int], *, must: bool = True) -> list[int]:
        """Take as many as there is room for; return the others."""
        self.waited |= must
        self.puts += len(descriptors)
        room = self._taken - len(self.content)
        self.content += descriptors[:room]
        return list(descriptors[room:])

    def clear(self) -> None:
        """Remove all."""
        self.content = []
