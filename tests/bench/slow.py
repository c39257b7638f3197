"""The cost of one slow worker of four, for the clients of all.

The slow worker takes ten times as long for a request: it sleeps in the event loop (20 ms, 200 ms), computes
there (1 ms, 10 ms), or sleeps in threads (20 ms, 200 ms). 64 clients ask as fast as they are answered, on
kept connections, over 20 s from the beginning on. BENCH_BEFORE names another checkout of sockact, which is
then measured beside this one; both take turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sockact.probe.background import BackgroundProbe
from tests.bench.balance import BEFORE, OURS, WORKERS, ours, trees
from tests.bench.figures import cell, ratio, table
from tests.bench.service import HELLO

ROUNDS = 3
SECONDS = 20.0
CLIENTS = "persistent:64@max"

MARK = """
import asyncio, fcntl, time
first = open("first", "w")
try:
    fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    FACTOR = 10
except OSError:
    FACTOR = 1
"""
"""The beginning of an app of which the first worker is ten times slower than the others."""

ASGI = (
    HELLO
    + MARK
    + """
answer = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        await work()
    await answer(scope, receive, send)
"""
)
APPS = {
    "sleeps in the event loop": ASGI + "async def work():\n    await asyncio.sleep(0.02 * FACTOR)\n",
    "computes in the event loop": ASGI
    + """
async def work():
    end = time.thread_time() + 0.001 * FACTOR
    while time.thread_time() < end:
        pass
""",
    "sleeps in threads": MARK
    + """
def app(environ, start_response):
    time.sleep(0.02 * FACTOR)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
""",
}


def measure(rounds: int) -> Iterator[str]:
    for what, app in APPS.items():
        yield from _slow(what, app, rounds)


def _slow(what: str, app: str, rounds: int) -> Iterator[str]:
    found: dict[str, list[tuple[float, int]]] = {}
    for _ in range(rounds):
        for tree in trees():
            with (
                ours(tree, app) as server,
                BackgroundProbe(f"http://127.0.0.1:{server.address[1]}", [CLIENTS]) as clients,
            ):
                time.sleep(SECONDS)
                total = clients.report()["total"]
            found.setdefault(tree, []).append((total["latency_ms"]["p99"], total["requests"]))
    yield f"one of {WORKERS} workers {what} ten times as long"
    rows = [("", "p99 in ms", "requests/s")]
    for tree, each in found.items():
        rates = [requests / SECONDS for _, requests in each]
        rows.append((tree, cell([p99 for p99, _ in each], 1), cell(rates)))
    yield from table(rows)
    if BEFORE in found:
        pairs = [(now[0], then[0]) for now, then in zip(found[OURS], found[BEFORE], strict=True)]
        yield f"  p99 {ratio(pairs)} times that before, goal at most 0.5"
