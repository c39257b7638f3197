"""`python -m tests.fuzz`: fuzzes targets for a time, with atheris where it is installed, else at random."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz import guided
from tests.fuzz.inputs import NAMES, Fuzzed, at_random
from tests.fuzz.oracle import examine, examine_growth, examine_large

LARGE_ONCE_IN = 500
"""Inputs at random of which one is multiplied, which takes as long as hundreds of others."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz sockact.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=" ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target [60]")
    parser.add_argument(
        "--found", metavar="FOLDER", type=Path, default=Path("."), help="for inputs that fail [.]"
    )
    parser.add_argument("--seed", type=int, help="of inputs at random; without: the time")
    parser.add_argument("--plain", action="store_true", help="at random, also where atheris is installed")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no target {' '.join(sorted(unknown))}: expected some of {' '.join(NAMES)}")
    failed = False
    for name in arguments.names or NAMES:
        if guided.INSTALLED and not arguments.plain:
            failed |= _guided(name, arguments.seconds, arguments.found)
        else:
            seed = int(time.time()) if arguments.seed is None else arguments.seed
            failed |= _at_random(Fuzzed.of(name), arguments.seconds, arguments.found, seed)
    return int(failed)


def _guided(name: str, seconds: int, found: Path) -> bool:
    """Fuzz a target in a process of its own, which atheris ends; return whether there is a fault."""
    command = [sys.executable, "-m", guided.__name__, name, f"--seconds={seconds}", f"--found={found}"]
    done = subprocess.run(command, check=False)
    print(f"{name}: {'no finding' if done.returncode == 0 else 'a fault, see above'}", flush=True)
    return done.returncode != 0


def _at_random(fuzzed: Fuzzed, seconds: int, found: Path, seed: int) -> bool:
    """Fuzz a target at random; return whether there is a fault, whose input is then a file."""
    rng = random.Random(seed)
    seeds = list(fuzzed.corpus().values())
    end, count, data = time.monotonic() + seconds, 0, b""
    try:
        while time.monotonic() < end:
            data = at_random(rng, seeds, fuzzed.dictionary)
            examine(fuzzed.target, data)
            count += 1
            if fuzzed.large and count % LARGE_ONCE_IN == 0:
                examine_large(fuzzed.target, data, fuzzed.large)
        examine_growth(fuzzed.target, seeds)
    except Exception as fault:
        path = found / f"{fuzzed.name}-{seed}-{count}"
        path.write_bytes(data)
        print(f"{fuzzed.name}: input {count} of seed {seed}, in {path}: {data!r}", flush=True)
        if sys.flags.interactive:
            raise
        print(f"{type(fault).__name__}: {fault}", flush=True)
        return True
    print(f"{fuzzed.name}: {count} inputs of seed {seed}, no finding", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
