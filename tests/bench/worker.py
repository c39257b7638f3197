"""The memory of a worker that serves nothing but a function, and of each idle connection.

A worker has answered one request. The memory of an idle connection is what is private to the worker with
all of them open, less the same with none, divided by their number; that of the kernel is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.crowd import SPARE, Crowd, descriptors
from tests.bench.figures import spread
from tests.bench.foreign import SERVERS, packages, serving
from tests.bench.proc import Memory, memory
from tests.bench.service import service
from tests.bench.throughput import APPS

ROUNDS = 3
IDLE = 10_000
OPTIONS = ("--workers=1", "--keep-alive=10min", "--header-timeout=10min")


def measure(rounds: int) -> Iterator[str]:
    for interface in SERVERS:
        pss, private = zip(*(_size(interface) for _ in range(rounds)), strict=True)
        of_it = f"of it private {spread(private, 'MB')}"
        yield f"{interface.upper()}: PSS {spread(pss, 'MB')}, goal 19; {of_it}"
    with descriptors() as room:
        if (idle := min(IDLE, room - SPARE)) < IDLE:
            yield f"skipped: more than {idle} connections (ulimit -Hn)"
        yield f"{idle:,} idle connections"
        for interface in SERVERS:
            after = [_idle(interface, idle) for _ in range(rounds)]
            yield f"  {interface.upper()}, after a request: {spread(after, 'KiB')} each, goal 6"
        before = [_idle("asgi", idle, fresh=True) for _ in range(rounds)]
        yield f"  ASGI, before a request: {spread(before, 'KiB')} each"
        with packages() as where:
            if "uvicorn" in where.versions():
                beside = [_idle_beside(where.python, idle) for _ in range(rounds)]
                yield f"  uvicorn, after a request: {spread(beside, 'KiB')} each"


def _size(interface: str) -> Memory:
    with service(_app(interface)) as supervised:
        journal = supervised.journal()
        supervised.supervise("--workers=1", app="app:small", JOURNAL_STREAM=journal)
        (worker,) = supervised.workers
        with Crowd(supervised.address, 1):
            pass
        return memory(worker)


def _idle(interface: str, count: int, *, fresh: bool = False) -> float:
    """Return the KiB of each connection."""
    with service(_app(interface)) as supervised:
        supervised.supervise(*OPTIONS, app="app:small")
        (worker,) = supervised.workers
        return _each(worker, supervised.address, count, fresh=fresh)


def _idle_beside(python: str, count: int) -> float:
    with service(_app("asgi")) as files:
        arguments = SERVERS["asgi"]["uvicorn"]
        with serving(python, arguments, files.directory, "app:small") as (port, pid):
            return _each(pid, ("127.0.0.1", port), count)


def _each(pid: int, address: tuple[str, int], count: int, *, fresh: bool = False) -> float:
    with Crowd(address, 1):
        pass
    before = memory(pid).private
    with (
        Crowd(address, count, fresh=fresh) as crowd,
        Crowd(address, 1),
    ):  # all have arrived when one is served
        taken = memory(pid).private - before
        assert crowd.open() == count
    return 1024 * taken / count


def _app(interface: str) -> str:
    return Path(APPS, f"{interface}.py").read_text()
