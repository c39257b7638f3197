"""`python -m tests.chaos`: a random walk over a service under systemd, with its seed.

It prints each step with its time. At a fault it prints the seed, what was lost and the journal, and exits
with 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from tests.chaos import events, signalled, surroundings  # noqa: F401 - they register themselves
from tests.chaos.register import KINDS
from tests.chaos.walk import PACE, RAPID, Kind, walk
from tests.chaos.walker import Walker, journal
from tests.chaos.world import SETUP, Setup, World
from tests.support.machine.machine import MachineError, boot, obstacle
from tests.support.machine.roots import CHECKOUT, prepare, root_for

EXCERPT = 80
"""Lines of the journal that are printed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--suite", choices=["bookworm", "trixie"], default="trixie")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=3.0)
    length.add_argument("--hours", type=float)
    parser.add_argument("--events", type=int, help="end after so many steps")
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), metavar="EVENT", help="draw from these")
    parser.add_argument(
        "--rapid", action="store_true", help="without pauses and probation; all settles after 1 of 50 steps"
    )
    parser.add_argument("--workers", type=int, default=SETUP.workers, help="0: the main process serves")
    parser.add_argument("--preload", action="store_true", help="workers are forked")
    given = parser.parse_args()
    if reason := obstacle():
        parser.exit(69, f"chaos: {reason}\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seconds = given.hours * 3600 if given.hours else given.minutes * 60
    kinds = chosen(given.only, alone=not given.workers)
    root = root_for(given.suite)
    prepare(root)
    print(f"seed {given.seed} on {given.suite}", flush=True)
    with boot(root, f"chaos-{given.seed}") as machine:
        machine.run(f"{CHECKOUT}/units/provision", "app", timeout=300)
        with World.begun(machine, setup(given)) as world:
            walker = Walker(world, print_at_once)
            began = time.time()
            try:
                steps = walk(given.seed, kinds, given.suite, RAPID if given.rapid else PACE)
                walker.walk(steps, seconds, given.events)
            except (AssertionError, MachineError, subprocess.TimeoutExpired) as fault:
                print(f"\nseed {given.seed} on {given.suite}: {type(fault).__name__}: {fault}")
                print(f"again: python -m tests.chaos {again(given)}")
                print(*journal(world, began).splitlines()[-EXCERPT:], sep="\n")
                print(walker.summary())
                return 1
        print(walker.summary())
    return 0


def setup(given: argparse.Namespace) -> Setup:
    """Return the unit with which a walk begins."""
    return replace(
        SETUP,
        workers=given.workers,
        probation=0.0 if given.rapid else SETUP.probation,
        options=("--preload",) if given.preload else (),
    )


def again(given: argparse.Namespace) -> str:
    """Return the options that make the same walk."""
    flags = "".join(f" --{name}" for name in ("preload", "rapid") if getattr(given, name))
    only = f" --only {' '.join(given.only)}" if given.only else ""
    return f"--seed {given.seed} --suite {given.suite} --workers {given.workers}{flags}{only}"


def chosen(only: Sequence[str] | None, *, alone: bool) -> dict[str, Kind]:
    """Return the kinds of event of a walk; without workers there is no probation."""
    without = {"dies_young"} if alone else set()
    return {
        name: kind for name, kind in KINDS.items() if (not only or name in only) and name not in without
    }


def print_at_once(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
