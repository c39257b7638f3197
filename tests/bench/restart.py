"""The longest time without an answer that is due, around restarts of units/app.service, on real systemd.

Windows with a restart, with a SIGKILL of the supervisor, with a reload and with nothing take turns under
one load: kept connections, new ones, requests of 4 s, uploads and streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from sockact.probe.background import BackgroundProbe
from tests.bench.figures import p95, spread
from tests.bench.machine import SUITES, serving
from tests.support.machine.load import load
from tests.support.machine.machine import Machine
from tests.support.machine.service import main_pid, wait_for, wait_until
from tests.support.machine.supervised import kill

ROUNDS = 20
OPTIONS = ("--workers=2", "--probation=0.1s")
CLIENTS = ("persistent:16@20", "one-shot:8@10", "slow:4@0.2,seconds=4", "upload:2@0.5", "stream:2@0.4")
QUIET = 0.5
"""Seconds of a window in which nothing is done, and from one window to the next."""


def measure(rounds: int) -> Iterator[str]:
    for suite in SUITES:
        with serving(suite, *OPTIONS) as machine:
            with load(machine, *CLIENTS) as probe:
                stalls = {what: [0.0] * 0 for what in WHAT}
                order = [what for _ in range(rounds) for what in WHAT]
                _take_turns(machine, probe, order)
                report = probe.report()
            for what, window in zip(order, report["windows"][1::2], strict=False):
                stalls[what].append(1000 * window["stall"])
            kept = report["loads"][CLIENTS[0]]
            closed = f"{kept['reconnects']} of {kept['connections']} kept connections closed"
            counts = f"{report['requests']} requests, {report['lost']} lost, {closed}"
            yield f"systemd {machine.systemd_version()}, {rounds} of each: {counts}"
            for what, found in stalls.items():
                yield f"  {what}: longest stall {spread(found, 'ms')}, p95 {p95(found):.0f} ms"


def _take_turns(machine: Machine, probe: BackgroundProbe, order: list[str]) -> None:
    for what in order:
        time.sleep(QUIET)
        probe.cut()
        WHAT[what](machine)
        probe.cut()


def _restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "app.service")


def _kill(machine: Machine) -> None:
    pid = main_pid(machine)
    kill(machine, pid)
    wait_until(lambda: main_pid(machine) not in (0, pid))
    wait_for(machine, "SubState=running")


def _reload(machine: Machine) -> None:
    machine.run("systemctl", "reload", "app.service")


def _nothing(_: Machine) -> None:
    time.sleep(QUIET)


WHAT: Mapping[str, Callable[[Machine], None]] = {
    "restart": _restart,
    "the supervisor is killed": _kill,
    "reload": _reload,
    "nothing": _nothing,
}
