"""The CPU time of all imports of a worker, beside `import asyncio, uvloop, httptools`.

The list of modules is that of a worker that serves an ASGI app, from `sys.modules`; a new interpreter
imports them in the same order. `python -m tests.bench.imports [N]` lists the N most expensive ones, by
`python -X importtime`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.bench.figures import ratio, spread, table
from tests.bench.service import compile_sockact, service
from tests.support.http_client import Client

ROUNDS = 15
BARE = ("asyncio", "uvloop", "httptools")

APP = """
import sys

async def app(scope, receive, send):
    if scope["type"] == "http":
        names = " ".join(name for name in sys.modules if name not in ("__main__", __name__)).encode()
        headers = [(b"content-length", b"%d" % len(names))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": names})
"""

IMPORT = """
import sys, time
before = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
print(time.process_time() - before)
"""

LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def measure(rounds: int) -> Iterator[str]:
    names = _imported()
    pairs = [(_milliseconds(names), _milliseconds(BARE)) for _ in range(rounds + 1)][1:]
    all_, bare = zip(*pairs, strict=True)
    ours = sum(name.partition(".")[0] == "sockact" for name in names)
    yield f"import {', '.join(BARE)}: {spread(bare, 'ms')} of CPU"
    yield f"all {len(names)} modules of a worker, {ours} of them of sockact: {spread(all_, 'ms')}"
    yield f"ratio {ratio(pairs)}, goal 1.4"


def _imported() -> Sequence[str]:
    """Return the names of all modules that a worker has."""
    with service(APP) as supervised:
        supervised.supervise("--workers=1")
        with Client(supervised.address) as client:
            return client.get().text.split()


def _milliseconds(names: Sequence[str]) -> float:
    """Return the CPU time in which a new interpreter imports modules."""
    command = [sys.executable, "-c", IMPORT, *names]
    return 1000 * float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _times(names: Sequence[str]) -> Mapping[str, float]:
    """Return the milliseconds that the import of each module has taken, without those that it imports."""
    command = [sys.executable, "-X", "importtime", "-c", IMPORT, *names]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    return {match[2]: int(match[1]) / 1000 for match in map(LINE.match, lines) if match}


def _least(names: Sequence[str]) -> Mapping[str, float]:
    """Return the least of five such times for each module."""
    runs = [_times(names) for _ in range(5)]
    return {name: min(run.get(name, 0.0) for run in runs) for name in runs[0]}


def _profile(count: int) -> Iterator[str]:
    """List what costs most of what a bare loop and parser do not need."""
    compile_sockact()
    names = _imported()
    bare, all_ = _least(BARE), _least((*BARE, *names))
    least = {name: each for name, each in all_.items() if name not in bare}
    groups: dict[str, float] = defaultdict(float)
    for name, each in least.items():
        parts = name.split(".")
        groups[".".join(parts[:2]) if parts[0] == "sockact" else "others"] += each
    with_start = f"{sum(bare.values()):.1f} ms with the start of Python"
    yield f"{sum(least.values()):.1f} ms beyond import {', '.join(BARE)}: {with_start}"
    for times in (groups, least):
        most = sorted(times.items(), key=lambda each: -each[1])[:count]
        yield from table([("ms", ""), *((f"{each:.2f}", name) for name, each in most)])


if __name__ == "__main__":
    print(*_profile(int(sys.argv[1]) if sys.argv[1:] else 25), sep="\n")
