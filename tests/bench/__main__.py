"""`python -m tests.bench`."""

from __future__ import annotations

import argparse
import importlib
import os

from tests.bench.service import compile_sockact

NAMES = ("size", "idle", "start", "activation", "reload", "throughput", "stall", "restart", "handover")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what sockact costs."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=" ".join(NAMES))
    parser.add_argument("--rounds", type=int, help="how often each is measured; default: its own number")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no measurement {' '.join(unknown)}: expected some of {' '.join(NAMES)}")
    compile_sockact()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first measurement")
    for name in arguments.names or NAMES:
        module = importlib.import_module(f"tests.bench.{name}")
        for line in module.measure(arguments.rounds or module.ROUNDS):
            print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
