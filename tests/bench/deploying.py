"""Changes of a service under load, and what its clients see."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.bench.servers import SERVERS, Server, install_all, versions
from tests.support.machine.load import load
from tests.support.machine.machine import Machine, boot
from tests.support.machine.roots import prepare, root_for

SUITE = "trixie"

CLIENTS = ("persistent:16@10", "one-shot:8@10")
QUIET = 0.5
"""Seconds of a window before and after what is done."""

BROKEN_FOR = 5.0
REPAIR_LIMIT = 10.0
NEW_LIMIT = 30.0
"""Seconds after which it is said that the new release does not answer."""

COMMAND_LIMIT = 20
UNENDED = 124
"""Seconds that a command may take, and the exit status of timeout(1) after that."""

LAST = 1.0
"""Seconds at the end of a window whose answers tell who serves."""

CHANGES = ("reload", "restart")
NOTHING = "nothing"

# Asks by new connections until a row of answers is of that release, and prints when the row began.
ASK = """
import json, sys, time, urllib.request
port, version, limit, row = sys.argv[1], sys.argv[2], float(sys.argv[3]), 0
end = time.monotonic() + limit
while row < 20 and time.monotonic() < end:
    now = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            right = json.load(answer)["version"] == version
    except (OSError, ValueError):
        right = False
    first, row = (first if row else now, row + 1) if right else (None, 0)
    time.sleep(0.02)
print(json.dumps(first if row == 20 else None))
"""


@dataclass(slots=True)
class Window:
    """What clients saw around a change.

    Attributes:
        report: the probe's.
        status: the exit status of the command; None if there was none.
        new: the seconds from the command's beginning until the new release alone answered, if it did.
    """

    report: dict[str, Any]
    status: int | None = None
    new: float | None = None

    @property
    def stall(self) -> float:
        """The longest stall, in milliseconds."""
        return 1000 * float(self.report["windows"][1]["stall"])

    @property
    def slowest(self) -> float:
        """The longest response time, in milliseconds."""
        return float(self.report["total"]["latency_ms"]["max"])

    @property
    def closed(self) -> int:
        """The number of kept connections that have ended before the clients did."""
        return sum(self.report["connections"]["ends"].values())

    def last(self) -> set[tuple[str, int]]:
        """Return the releases and processes that have answered at the end."""
        since = self.report["seconds"] - LAST
        return {(each["version"], each["pid"]) for each in self.report["seen"] if each["last"] >= since}


@dataclass(slots=True)
class Deploys:
    """All measurements on one machine.

    Attributes:
        machine: on which all servers run.
        number: of the last release.
        windows: by what was done, and by the name of the server.
    """

    machine: Machine
    number: int = 0
    windows: dict[tuple[str, str], list[Window]] = field(default_factory=dict)

    def deploy(self, server: Server, what: str, *, broken: bool = False) -> Window:
        """Do something to a server under load, and return what clients saw."""
        with load(self.machine, *CLIENTS, port=server.port) as probe:
            time.sleep(QUIET)
            probe.cut()
            window = Window({})
            if what in CHANGES:
                self._change(window, server, what, broken=broken)
            time.sleep(QUIET)
            probe.cut()
            window.report = probe.report()
        return window

    def _change(self, window: Window, server: Server, what: str, *, broken: bool) -> None:
        self.release(server, broken=broken)
        began = time.monotonic()
        window.status = self.command(server, what)
        if broken:
            time.sleep(BROKEN_FOR)
        else:
            answered = self.answered(server, NEW_LIMIT)
            window.new = None if answered is None else answered - began

    def release(self, server: Server, *, broken: bool = False) -> None:
        """Put the next release in place."""
        self.number += 1
        server.release(self.machine, str(self.number), broken=broken)

    def command(self, server: Server, what: str) -> int:
        """Run systemctl, and return its exit status; timeout(1)'s if it does not end."""
        argv = ("timeout", str(COMMAND_LIMIT), "systemctl", what, f"{server.unit}.service")
        return self.machine.run(*argv, check=False).returncode

    def answered(self, server: Server, limit: float) -> float | None:
        """Wait until the last release answers, and return since when; None if it does not in time."""
        argv = ("python3", "-c", ASK, str(server.port), str(self.number), str(limit))
        found = json.loads(self.machine.run(*argv, timeout=limit + 30).stdout)
        return None if found is None else float(found)

    def heal(self, server: Server) -> None:
        """Let a server serve a good release, whatever became of it."""
        self.release(server)
        self.machine.run("systemctl", "reset-failed", f"{server.unit}.service", check=False)
        if server.socket:
            self.machine.run("systemctl", "start", f"{server.unit}.socket", check=False)
        self.command(server, "restart")
        if self.answered(server, NEW_LIMIT) is None:
            raise RuntimeError(f"{server.name} does not serve: {self.machine.journal(server.unit)[-2000:]}")


@contextlib.contextmanager
def all_servers(name: str) -> Iterator[tuple[Deploys, str]]:
    """Install all servers on a machine; yield it, and their versions, while all of them serve."""
    root = root_for(SUITE)
    prepare(root, "servers")
    with boot(root, name) as machine:
        install_all(machine)
        deploys = Deploys(machine)
        for server in SERVERS:
            deploys.heal(server)
        yield deploys, f"systemd {machine.systemd_version()}, {versions(machine)}"
