"""The processes and files of a machine, seen from the host without a command in it.

A signal then comes at a known time, and what a process holds is known before it dies.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CGROUP = "sys/fs/cgroup/system.slice/app.service/cgroup.procs"
PAUSE = 0.02
READS = 3
STOPPED_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Inside:
    """A view into a machine whose PID 1 is `leader`, as seen from the host."""

    leader: int

    @property
    def root(self) -> Path:
        """The root of the machine, by /proc: reading cgroup.procs there gives PIDs of the host."""
        return Path(f"/proc/{self.leader}/root")

    def put(self, path: str, text: str) -> None:
        """Replace a file in one step, as a careful deploy does."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f"{target.name}.new")
        new.write_text(text)
        new.replace(target)

    def overwrite(self, path: str, data: bytes) -> None:
        """Write a file in its place, for those who have mapped it."""
        with (self.root / path).open("r+b" if (self.root / path).exists() else "wb") as file:
            file.write(data)

    def processes(self) -> dict[int, int]:
        """Return the processes of the service: PIDs in the machine, with those on the host."""
        try:
            pids = (self.root / CGROUP).read_text().split()
        except OSError:
            return {}
        found = {}
        for pid in map(int, pids):
            with suppress(OSError):
                found[int(self._status(pid, "NSpid").split()[-1])] = pid
        return found

    def _status(self, pid: int, name: str) -> str:
        text = Path(f"/proc/{pid}/status").read_text()
        found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
        return found[1] if found else ""

    def state(self, pid: int) -> str:
        """Return the state of a process, `T` for one that is stopped; empty when its files are closed."""
        try:
            state = self._status(pid, "State")[:1]
        except OSError:
            return ""
        return "" if state in "ZX" else state

    def descriptors(self, pid: int) -> int:
        """Return how many descriptors a process holds."""
        return len(os.listdir(f"/proc/{pid}/fd"))

    def ports(self, pid: int) -> frozenset[int]:
        """Return the clients' ports of the connections that a stopped process holds.

        The kernel's table may skip an entry if others come and go while it is read.
        """
        held = set(_sockets(pid))
        tables = (self._connections() for _ in range(READS))
        return frozenset(port for table in tables for inode, port in table if inode in held)

    def _connections(self) -> Iterator[tuple[str, int]]:
        for line in Path(f"/proc/{self.leader}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            yield fields[9], int(fields[2].rpartition(":")[2], 16)

    def signal(self, pid: int, *numbers: signal.Signals) -> None:
        """Send signals to a process, given by its PID on the host; one that has gone needs none."""
        assert pid > 1
        with suppress(ProcessLookupError):
            for number in numbers:
                os.kill(pid, number)

    def stop(self, pid: int) -> None:
        """Stop a process, and wait until it is."""
        self.signal(pid, signal.SIGSTOP)
        self.await_state(pid, ("T", "t", ""))

    def await_state(self, pid: int, states: tuple[str, ...], limit: float = STOPPED_WITHIN) -> None:
        deadline = time.monotonic() + limit
        while self.state(pid) not in states and time.monotonic() < deadline:
            time.sleep(PAUSE)


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                link = os.readlink(f"/proc/{pid}/fd/{name}")
                if link.startswith("socket:["):
                    yield link[8:-1]
