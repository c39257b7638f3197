"""`python -m tests.bench`."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from tests.bench.service import compile_sockact

HEAD = """# Performance

Written by `python -m tests.bench NAME... --page docs/performance.md`, as root; sections that are not
measured stay as they are. A value stands before the smallest and the largest in brackets.
"""

NAMES = (
    *("throughput", "worker", "preload", "imports", "size", "idle"),
    *("start", "activation", "reload", "stall", "restart", "deploys", "broken"),
    *("beside", "footprint", "handover", "balance", "slow", "probe"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what sockact costs."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=" ".join(NAMES))
    parser.add_argument("--rounds", type=int, help="how often each is measured; default: its own number")
    parser.add_argument("--page", metavar="FILE.md", type=Path, help="also write what is printed to a page")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no measurement {' '.join(unknown)}: expected some of {' '.join(NAMES)}")
    compile_sockact()
    for name in arguments.names or NAMES:
        section = _measure(name, arguments.rounds)
        if arguments.page:
            _write(arguments.page, {name: section})


def _measure(name: str, rounds: int | None) -> str:
    """Print what a measurement finds, and return its section of the page."""
    module = importlib.import_module(f"tests.bench.{name}")
    rounds = rounds or module.ROUNDS
    with_ = _machine()
    print(f"{name}: {with_}", flush=True)
    lines = []
    for line in module.measure(rounds):
        print(f"{name}: {line}", flush=True)
        lines.append(line)
    command = f"`.venv/bin/python -m tests.bench {name} --rounds {rounds}`: {with_}."
    doc = module.__doc__.rstrip() + getattr(module, "PICTURE", "")
    return "\n".join([f"## {name.capitalize()}", "", doc, "", command, "", "```", *lines, "```", ""])


def _machine() -> str:
    """Say what is measured on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpus = f"{os.cpu_count()} cores" + (f" ({model[1]})" if model else "")
    load = f"load {os.getloadavg()[0]:.1f} before"
    if niceness := os.nice(0):
        load += f", nice {niceness}"
    return f"{cpus}, {load}, Python {platform.python_version()}, Linux {platform.release().split('-')[0]}"


def _write(page: Path, found: Mapping[str, str]) -> None:
    """Put sections into a page, in place of older ones."""
    text = page.read_text() if page.exists() else ""
    there = re.findall(r"^## .*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    sections = {section.split()[1].lower(): section.rstrip() + "\n" for section in there} | found
    page.write_text("\n".join([HEAD, *(sections[name] for name in NAMES if name in sections)]))


if __name__ == "__main__":
    main()
