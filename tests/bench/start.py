"""From the exec of a supervisor to the exec of its first worker, beside a Python that imports asyncio.

Both are passed a pipe by LISTEN_FDS, into which the bare Python writes when it has imported, and the
supervisor's worker as its first act: it is a shell, and the fork, exec and shell of its start are included.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from sockact.sockets.fds import Kind, Listener
from tests.bench.figures import spread
from tests.bench.service import service

ROUNDS = 15
BARE = (sys.executable, "-c", "import asyncio, os; os.write(3, b'.')")
SUPERVISED = (
    *(sys.executable, "-m", "sockact", "run", "--no-notify", "--control=none"),
    *("--", "/bin/sh", "-c", "printf . >&3; exec sleep 60"),
)


def measure(rounds: int) -> Iterator[str]:
    pairs = [(_milliseconds(BARE), _milliseconds(SUPERVISED)) for _ in range(rounds)]
    bare, supervised = zip(*pairs, strict=True)
    yield f"python -c 'import asyncio': {spread(bare, 'ms')}"
    yield f"the first worker is executed: {spread(supervised, 'ms')}"
    more = statistics.median(one - other for other, one in pairs)
    yield f"later by {more:.1f} ms (median of the pairs), goal 60"


def _milliseconds(argv: Sequence[str]) -> float:
    """Start a program, and return how long it took until something wrote into its pipe."""
    ours, theirs = os.pipe()
    with service() as program:
        program.listener.close()
        program.listener = Listener("pipe", theirs, Kind.FIFO)
        began = time.monotonic()
        pid = program.run(argv)
        os.read(ours, 1)
        took = time.monotonic() - began
        os.close(ours)
        assert pid
    return took * 1000
