"""The service on a machine under a walk: what is expected of it, and what it is asked."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, CompletedProcess, Popen
from typing import Any, Self

from sockact.probe.spec import parse_specs
from tests.chaos.inside import Inside
from tests.chaos.oracle import Excuse, Loss, Oracle
from tests.support.machine.load import MANY_FILES
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import load_app
from tests.support.machine.soft_reboot import SINCE, let_survive

LIMIT = 120.0
"""Seconds until all is as expected after an event, on a machine that is busy with other things as well."""

PAUSE = 0.1
WATCHDOG = 8
DROP_IN = "etc/systemd/system/app.service.d/chaos.conf"
CLOCK = "opt/app/clock"
"""How far the wall clock of the service is ahead, and with .so the library that lets it be so."""

SOCKACT = "/opt/app/venv/bin/sockact"
NO_HANDOVER = "--no-handover"
SHOWN = ("ActiveState", "SubState", "MainPID", "NRestarts", "NFileDescriptorStore", "StatusText", "Result")

LOADS = (
    "one-shot:4@10",
    "pause:2@2,pause=0.2",
    "persistent:6@8",
    "persistent:1@60",
    "slow:2@0.4,seconds=2",
    "upload:2@0.5,seconds=1.5",
    "stream:2@0.4",
    "websocket:4@5",
)
CLIENTS = 23
"""Requests that are in flight at most."""

LABELS = frozenset(spec.label for spec in parse_specs(LOADS))


class FaultError(AssertionError):
    """Something that no event of the walk may cause."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The part of the unit that edits change; without workers the main process serves."""

    workers: int = 2
    probation: float = 1.0
    options: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether the main process serves by itself."""
        return not self.workers

    @property
    def keeps(self) -> bool:
        """Whether kept connections outlive processes."""
        return not self.alone and NO_HANDOVER not in self.options

    def text(self) -> str:
        """Return the drop-in of the unit."""
        options = (
            f"--workers={self.workers}",
            f"--probation={self.probation:g}s",
            "--start-timeout=12s",
            f"--worker-watchdog={WATCHDOG}s",
            "--keep-alive=1h",
            "--max-draining=20",
            *self.options,
        )
        command = f"{SOCKACT} run --chdir /opt/app {' '.join(options)} app:app"
        own = (
            *("ExecStart=", f"ExecStart={command}", f"WatchdogSec={WATCHDOG}s", "LimitCORE=0"),
            *(f"Environment=LD_PRELOAD=/{CLOCK}.so", f"Environment=CHAOS_CLOCK=/{CLOCK}"),
            *(("KillMode=mixed",) if self.alone else ()),
            *self.lines,
        )
        return "\n".join(("[Service]", *own, ""))


SETUP = Setup()


class Load:
    """The clients, as a process on the host in the machine's network; a thread hears them."""

    def __init__(self, machine: Machine, url: str = "http://127.0.0.1:8000") -> None:
        command = [*MANY_FILES, sys.executable, "-m", "tests.chaos.clients", url, *LOADS]
        self._process = Popen(machine.network(*command), stdin=PIPE, stdout=PIPE, text=True, cwd=CHECKOUT)
        self._lock = threading.Lock()
        self._losses: list[Loss] = []
        self.served: dict[str, int] = {}
        self.slow: list[str] = []
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._lock:
                if "loss" in said:
                    self._losses.append(Loss(**said["loss"]))
                elif "slow" in said:
                    self.slow.append(said["slow"])
                else:
                    self.served = said.pop("served")
                    self.counts = Counter(said)

    def losses(self) -> list[Loss]:
        """Return the losses since the last call."""
        with self._lock:
            found, self._losses = self._losses, []
        return found

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Let the clients end, and wait for their last requests."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=LIMIT)
            self._thread.join(timeout=LIMIT)

    def kill(self) -> None:
        """End the clients at once; nothing if they have ended."""
        with self._process:
            self._process.kill()
        self._thread.join(timeout=LIMIT)


@dataclass
class World:
    """The machine, its load and the oracle; `version` is the one that is expected to serve."""

    machine: Machine
    load: Load
    oracle: Oracle
    inside: Inside
    setup: Setup
    workers: int
    version: int = 1
    installed: int = 1
    usage: dict[tuple[int, str], int] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def begun(cls, machine: Machine, setup: Setup = SETUP) -> Iterator[Self]:
        """Start the service and its load; both go on until the end of the block."""
        inside = Inside(machine.leader)
        machine.run("gcc", "-shared", "-fPIC", "-O", "-o", f"/{CLOCK}.so", "tests/chaos/clock.c", "-ldl")
        inside.overwrite(CLOCK, bytes(8))
        inside.put(DROP_IN, setup.text())
        inside.put("opt/app/app.py", load_app(1))
        if machine.systemd_version() >= SINCE:
            let_survive(machine)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "app.socket", "app.service")
        load = Load(machine)
        try:
            yield cls(machine, load, Oracle(), inside, setup, setup.workers)
        finally:
            load.kill()

    # What is done to it.

    def install(self, *lines: str) -> int:
        """Deploy the next version, which is not expected to serve before it is reloaded."""
        self.installed += 1
        self.inside.put("opt/app/app.py", load_app(self.installed, *lines))
        return self.installed

    def configure(self, setup: Setup) -> None:
        """Change the unit; a restart takes it over."""
        self.setup = setup
        self.inside.put(DROP_IN, setup.text())
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments: str, check: bool = True) -> CompletedProcess[str]:
        return self.machine.run("systemctl", *arguments, check=check, timeout=LIMIT)

    def sockact(self, *arguments: str) -> CompletedProcess[str]:
        return self.machine.run(SOCKACT, *arguments, "app", check=False, timeout=LIMIT)

    def restarted(self) -> None:
        """Expect what a new main process has: the newest code, and as many workers as the unit says."""
        self.version, self.workers = self.installed, self.setup.workers

    @contextmanager
    def excused(self, event: str, **more: Any) -> Iterator[None]:
        """Tell the oracle what an event may cost, which is over at the end of the block."""
        excuse = self.oracle.excuse(Excuse(event, time.monotonic(), **more))
        yield
        excuse.until = time.monotonic()

    # What it is.

    def show(self) -> dict[str, str]:
        return self.machine.show("app.service", *SHOWN)

    def main(self) -> tuple[int, int]:
        """Return the PID of the main process, in the machine and on the host; waits until there is one."""
        found: list[tuple[int, int]] = []

        def there() -> bool:
            pid = int(self.show()["MainPID"])
            processes = self.inside.processes()
            found[:] = [(pid, processes[pid])] if pid in processes else []
            return bool(found)

        self.wait("a main process", there)
        return found[0]

    def worker_pids(self) -> list[int]:
        """Return the PIDs on the host of the processes that serve or fork those, by age."""
        main = self.main()[1]
        if self.setup.alone:
            return [main]
        return sorted(pid for pid in self.inside.processes().values() if pid != main)

    def status(self) -> dict[str, Any]:
        said = self.sockact("status", "--json")
        return json.loads(said.stdout) if said.returncode == 0 else {"refused": said.stderr}

    def wait(self, what: str, true: Callable[[], object], limit: float = LIMIT) -> None:
        """Wait until something is true, and fail if it does not become so."""
        deadline = time.monotonic() + limit
        while not true():
            if time.monotonic() > deadline:
                raise FaultError(f"not within {limit:g} s: {what}")
            time.sleep(PAUSE)
