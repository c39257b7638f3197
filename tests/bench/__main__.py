"""`python -m tests.bench`."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from tests.bench.service import compile_sockact

PAGE = """# Performance

Written by `.venv/bin/python -m tests.bench --page docs/performance.md`, as root: {where}.
A value stands before the smallest and the largest in brackets.
"""

NAMES = ("size", "idle", "start", "activation", "reload", "throughput", "stall", "restart", "handover")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what sockact costs."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=" ".join(NAMES))
    parser.add_argument("--rounds", type=int, help="how often each is measured; default: its own number")
    parser.add_argument("--page", metavar="FILE.md", type=Path, help="write what is printed as a page, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no measurement {' '.join(unknown)}: expected some of {' '.join(NAMES)}")
    compile_sockact()
    where = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first measurement"
    print(where)
    sections = [PAGE.format(where=where)]
    for name in arguments.names or NAMES:
        module = importlib.import_module(f"tests.bench.{name}")
        lines = []
        for line in module.measure(arguments.rounds or module.ROUNDS):
            print(f"{name}: {line}", flush=True)
            lines.append(line)
        sections.append(
            "\n".join([f"## {name.capitalize()}", "", module.__doc__, "```", *lines, "```", ""])
        )
    if arguments.page:
        arguments.page.write_text("\n".join(sections))


if __name__ == "__main__":
    main()
