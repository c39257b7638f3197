"""The spread of kept connections over four workers.

A figure is how many connections the most loaded worker has, as a multiple of the mean, 2 s after what
happened: the clients came, a reload was done, a worker was killed (its clients connect anew), one was added
by SIGTTIN. At rest each client asks once in 5 s, under load as fast as it is answered. BENCH_BEFORE names
another checkout of sockact, which is then measured beside this one; all take turns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sockact.probe.background import BackgroundProbe
from tests.bench.figures import cell, table
from tests.bench.foreign import SERVERS, packages, serving
from tests.bench.proc import children
from tests.bench.service import HELLO, service
from tests.support.manager import CHECKOUT
from tests.support.processes import held

ROUNDS = 3
WORKERS = 4
SETTLED = 2.0
CROWDS = (64, 400)
KINDS = {"at rest": "persistent:{}@0.2", "under load": "persistent:{}@max"}
EVENTS = ("start", "reload", "kill", "TTIN")
GOAL = 1.25
OURS, BEFORE = "sockact", "before"
OPTIONS = (f"--workers={WORKERS}", "--probation=0.2s", "--keep-alive=10min")


class Running(NamedTuple):
    """A server that runs: its address, its main process, and what makes it reload."""

    address: tuple[str, int]
    pid: int
    reload: Callable[[], None]


class Spread(NamedTuple):
    """The connections of the workers, the most loaded one first."""

    counts: Sequence[int]

    @property
    def skew(self) -> float:
        """How many times the mean the most loaded one has."""
        return max(self.counts) * len(self.counts) / max(sum(self.counts), 1)


Spreads = dict[tuple[str, str], list[Spread]]
"""What was found, by server and event."""


def measure(rounds: int) -> Iterator[str]:
    with packages() as where:
        yield ", ".join(f"{name} {found}" for name, found in where.versions().items())
        foreign = [name for name in SERVERS["asgi"] if name in where.versions() and name != "uvicorn"]
        for crowd in CROWDS:
            for when, kind in KINDS.items():
                found: Spreads = {}
                for _ in range(rounds):
                    for tree in trees():
                        _add(found, tree, partial(ours, tree, HELLO), kind.format(crowd))
                    for name in foreign:
                        _add(found, name, partial(_theirs, name, where.python), kind.format(crowd))
                yield from _report(f"{crowd} kept connections, {when}", found)


def trees() -> dict[str, Path]:
    """Return the checkouts of sockact to measure, by name."""
    before = os.environ.get("BENCH_BEFORE")
    return {OURS: CHECKOUT} | ({BEFORE: Path(before)} if before else {})


@contextlib.contextmanager
def ours(tree: str, app: str) -> Iterator[Running]:
    path = {"PYTHONPATH": str(trees()[tree]), "PYTHONSAFEPATH": "1"}
    with service(app) as served:
        pid = served.supervise(*OPTIONS, **path)
        yield Running(served.address, pid, served.reload)


@contextlib.contextmanager
def _theirs(name: str, python: str) -> Iterator[Running]:
    arguments = (*SERVERS["asgi"][name], f"--workers={WORKERS}")
    with service() as unused, serving(python, arguments, unused.directory, "app:app") as (port, pid):
        yield Running(("127.0.0.1", port), pid, lambda: os.kill(pid, signal.SIGHUP))


def _add(
    found: Spreads, name: str, start: Callable[[], contextlib.AbstractContextManager[Running]], kind: str
) -> None:
    """Measure one server, and add what was found."""
    of_sockact = name in (OURS, BEFORE)
    with start() as server, BackgroundProbe(f"http://127.0.0.1:{server.address[1]}", [kind]) as clients:
        for event in EVENTS if of_sockact else EVENTS[:1]:
            _make(event, server)
            time.sleep(SETTLED)
            pids = _workers(server.pid)[-WORKERS - (event == "TTIN") :]  # an old one may still end
            counts = sorted(held(server.address, pids).values(), reverse=True)
            found.setdefault((name, event), []).append(Spread(counts))
        clients.report()


def _workers(pid: int) -> list[int]:
    """Return the PIDs of the workers, the newest last, without Python's own helpers."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)}
    return sorted(child for child, command in commands.items() if b"tracker" not in command)


def _make(event: str, server: Running) -> None:
    """Make an event happen; the clients have come already."""
    if event == "reload":
        server.reload()
    elif event == "kill":
        os.kill(min(children(server.pid)), signal.SIGKILL)
    elif event == "TTIN":
        os.kill(server.pid, signal.SIGTTIN)


def _report(what: str, found: Spreads) -> Iterator[str]:
    yield f"{what}: the most loaded worker, times the mean, goal {GOAL}"
    rows = [("", "", "", "in the last round")]
    for (name, event), spreads in found.items():
        last = " ".join(map(str, spreads[-1].counts))
        rows.append((name, event, cell([each.skew for each in spreads], 2), last))
    yield from table(rows)
