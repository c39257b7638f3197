"""`python -m tests.simulation`: runs the simulations of many seeds, or of one, with its log."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate the service.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one, with all that is logged")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        outcome = simulate(arguments.seed, verbose=True)
        print(*outcome.log, *outcome.broken, sep="\n")
        return bool(outcome.broken)
    began, broken, answered, excused, reloads = time.monotonic(), 0, 0, 0, 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        outcome = simulate(seed)
        answered, excused = answered + outcome.answered, excused + outcome.excused
        reloads += outcome.reloads
        if outcome.broken:
            broken += 1
            print(f"seed {seed}: {outcome.broken[0]} ({'; '.join(outcome.events)})", flush=True)
    taken = time.monotonic() - began
    print(
        f"{arguments.seeds:,} seeds, {reloads:,} reloads, {answered:,} requests answered, {excused:,} lost "
        f"with a process that was killed or stopped, {broken:,} seeds break a promise; {taken:.0f} s"
    )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
