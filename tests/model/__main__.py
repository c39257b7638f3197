"""`python -m tests.model`: searches all states of the fleet and of a connection, and the way to faults.

Without --whole a search of the fleet ends at so many states; with it, at the bounds of `SEARCHES`, which
takes minutes.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from tests.model.connection import ConnectionModel
from tests.model.fleet import Bounds, FleetModel, rules
from tests.model.search import Found, search
from tests.unit.supervisor.test_fleet_model import CANARY_FAULTS, FAULTS, with_fault

SEARCHES = (
    ({"size": 1}, Bounds(generations=3, workers=1, leaving=2)),
    ({"size": 1, "surge": 1}, Bounds(generations=3, workers=1, leaving=2)),
    ({"size": 1, "watchdog": 3.0}, Bounds(generations=2, workers=1, leaving=1)),
    ({"size": 2}, Bounds(generations=2, workers=2, leaving=1)),
    ({"size": 2, "surge": 1}, Bounds(generations=3, workers=2, leaving=1)),
    ({"size": 3, "surge": 1}, Bounds(generations=3, workers=3, leaving=1)),
    ({"size": 2, "canary": 1, "looks": 2}, Bounds(generations=2, workers=2, leaving=1)),
    ({"size": 2, "canary": 2, "looks": 1}, Bounds(generations=2, workers=2, leaving=1)),
    ({"size": 2, "canary": 2, "surge": 1, "looks": 1}, Bounds(generations=2, workers=2, leaving=1)),
)
"""The rules and bounds of each search."""

MOST = 20_000
"""States of a search that is not whole."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Search the fleet's states.")
    parser.add_argument("--whole", action="store_true", help="end at the bounds, not at a number of states")
    most = None if parser.parse_args().whole else MOST
    for changes, bounds in SEARCHES:
        began = time.monotonic()
        found = search(FleetModel(rules(**changes), bounds=bounds), most)
        end = "" if most is None or found.states < most else f", ended at {most:,}"
        told = f"{found.broken}: {'; '.join(found.path)}" if found.broken else "0 violations"
        size = f"{found.states:,} states{end}, {found.transitions:,} transitions"
        print(
            f"{changes} {bounds._asdict()}: {size}: {told} ({time.monotonic() - began:.0f} s)", flush=True
        )
    found = search(ConnectionModel())
    told = f"{found.broken}: {'; '.join(found.path)}" if found.broken else "0 violations"
    print(f"a connection: {found.states:,} states, {found.transitions:,} transitions: {told}", flush=True)
    for fault in (*FAULTS, *CANARY_FAULTS):
        found = way_to(fault)
        told = f"{'; '.join(found.path)}: {found.broken}" if found.broken else "not within these bounds"
        print(f"{fault.__name__}: {told}", flush=True)


def way_to(fault: type) -> Found:
    """Return the shortest way to a promise that a planted fault breaks, in the first search with one."""
    found = Found(0, 0)
    for changes, bounds in SEARCHES[-3:] if fault in CANARY_FAULTS else SEARCHES[2:5]:
        found = search(FleetModel(rules(**changes), partial(with_fault, fault), bounds), MOST // 4)
        if found.broken:
            break
    return found


if __name__ == "__main__":
    main()
