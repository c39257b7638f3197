"""The memory of sockact and of other servers with 1, 4 and 16 workers, on real systemd.

The servers and their apps are those of Deploys, one at a time. Memory is the PSS of all processes of the
service, after 32 clients have asked 10 times a second each for 3 s, each request on a connection of its
own; whoever has answered none of them is counted, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from tests.bench.deploying import all_servers
from tests.bench.figures import cell, table
from tests.bench.servers import DEFAULT, SERVERS, Server
from tests.support.machine.load import load
from tests.support.machine.machine import Machine

PICTURE = "\n\n![The memory of each server](footprint.svg)"
"""The picture in the page, which `tests.bench.bars_picture` draws out of that."""

ROUNDS = 3
NUMBERS = (1, 4, 16)
CLIENTS = "one-shot:32@10"
SECONDS = 3.0

ALL = (DEFAULT, replace(DEFAULT, name="sockact preload", options="--preload"), *SERVERS[1:])
"""The servers; the first two are one service, with different options."""

# Prints the number of processes in a control group and in those below it, and their PSS in kB.
PSS = """
import pathlib, re, sys
number = total = 0
for group in pathlib.Path("/sys/fs/cgroup/system.slice", sys.argv[1]).rglob("cgroup.procs"):
    for pid in group.read_text().split():
        text = pathlib.Path("/proc", pid, "smaps_rollup").read_text()
        number += 1
        total += int(re.search(r"^Pss: +(\\d+)", text, re.MULTILINE)[1])
print(number, total)
"""


def measure(rounds: int) -> Iterator[str]:
    with all_servers("bench-footprint") as (deploys, versions):
        machine = deploys.machine
        for server in SERVERS:
            server.stop(machine)
        yield versions
        found: dict[tuple[str, int], list[float]] = {}
        for number in NUMBERS * rounds:
            for server in ALL:
                found.setdefault((server.name, number), []).append(_memory(machine, server, number))
        yield "PSS in MB"
        head = ("", *(f"{number} workers" for number in NUMBERS))
        rows = [
            (server.name, *(cell(found[server.name, number], 1) for number in NUMBERS)) for server in ALL
        ]
        yield from table([head, *rows])


def _memory(machine: Machine, server: Server, workers: int) -> float:
    """Return the megabytes of a server that serves alone."""
    server.install(machine, workers)
    server.start(machine)
    with load(machine, CLIENTS, port=server.port) as probe:
        time.sleep(SECONDS)
        report = probe.report()
    if report["lost"]:
        raise RuntimeError(f"{server.name} has lost requests: {report['failures']}")
    processes, pss = map(int, machine.run("python3", "-c", PSS, f"{server.unit}.service").stdout.split())
    if processes < workers:
        raise RuntimeError(f"{server.name} has only {processes} processes")
    server.stop(machine)
    return pss / 1024
