"""Even load on real systemd: connections are spread over the workers, whatever happens to these."""

from __future__ import annotations

import json

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import install, main_pid, reload, tell, wait_until
from tests.support.machine.supervised import kill, start, workers

SIZE = 4
KEPT = 48
EVEN = 1.25
"""How many times the mean of all workers the most loaded one may have."""

CLIENTS = (f"persistent:{KEPT}@4", "websocket:4@4", "stream:2@0.4", "upload:2@0.5,seconds=1.5")

HELD = """
import collections, json, os, pathlib
open_ = collections.Counter()
rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
ours = {"socket:[%s]" % row[9] for row in rows if row[1].endswith(":1F40") and row[3] == "01"}
for pid in map(int, os.sys.argv[1:]):
    open_[pid] = 0
    for link in pathlib.Path("/proc/%d/fd" % pid).glob("*"):
        try:
            open_[pid] += str(os.readlink(link)) in ours
        except OSError:
            pass
print(json.dumps(list(open_.values())))
"""
"""Prints how many connections on port 8000 each process has, as the kernel tells."""


def wait_even(machine: Machine, size: int = SIZE) -> None:
    """Wait until so many workers have all kept connections, each its share."""

    def even() -> bool:
        pids = sorted(workers(machine))
        told = machine.run("python3", "-c", HELD, *map(str, pids), check=False).stdout
        counts = json.loads(told or "[]")
        return len(counts) == size and sum(counts) >= KEPT and max(counts) * size <= EVEN * sum(counts)

    wait_until(even)


def test_kept_connections_are_spread_whatever_happens(app: Machine) -> None:
    pid = start(app, f"--workers={SIZE}", "--probation=0.1s")
    with load(app, *CLIENTS) as clients:
        wait_even(app)
        install(app, 2)
        reload(app)
        wait_even(app)
        app.run("kill", "-TTIN", str(pid))
        wait_even(app, SIZE + 1)
        app.run("kill", "-TTOU", str(pid))
        wait_even(app)
        install(app, 3)
        app.run("systemctl", "restart", "app.service")
        wait_even(app)
        report = clients.report()

    assert_nothing_lost(report)
    assert report["loads"][CLIENTS[0]]["connections"] == KEPT
    assert {seen["version"] for seen in report["seen"]} == {"1", "2", "3"}
    tell("even load over a reload, one worker more, one less and a restart", app, report)


def test_a_worker_in_place_of_a_killed_one_gets_its_share(app: Machine) -> None:
    pid = start(app, f"--workers={SIZE}", "--probation=0.1s")
    with load(app, CLIENTS[0]) as clients:
        wait_even(app)
        kill(app, min(workers(app)))
        wait_even(app)
        report = clients.report()

    assert main_pid(app) == pid
    # Others have not lost theirs, and none was lost by a move.
    assert report["total"]["connections"] <= KEPT * (1 + EVEN / SIZE)
