"""Requests a second of a supervised worker, beside plain uvicorn with the same loop, parser and socket."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.figures import spread
from tests.bench.service import Service, service

ROUNDS = 7
SECONDS = 3
CONNECTIONS = 32

# Not `uvicorn --fd`: socket.fromfd forgets the protocol of the socket, and with it TCP_NODELAY.
PLAIN = """
import socket, sys, uvicorn
sys.path.insert(0, sys.argv[1])
config = uvicorn.Config("app:app", loop="uvloop", http="httptools", access_log=False, log_level="warning")
uvicorn.Server(config).run(sockets=[socket.socket(fileno=3)])
"""


def measure(rounds: int) -> Iterator[str]:
    if shutil.which("wrk") is None:
        yield "skipped: no wrk here (apt install wrk)"
        return
    with service() as plain, service() as supervised:
        plain.run([sys.executable, "-c", PLAIN, str(plain.directory)])
        supervised.supervise("--workers=1")
        for each in (plain, supervised):
            _requests_per_second(each, 1)  # what the first requests import is no matter of throughput
        pairs = [_pair(plain, supervised, number % 2 == 0) for number in range(rounds)]
    others, ours = zip(*pairs, strict=True)
    ratios = [one / other for other, one in pairs]
    yield f"plain uvicorn: {spread(others, 'requests/s')}"
    yield f"a supervised worker: {spread(ours, 'requests/s')}"
    yield f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), goal 0.97"


def _pair(plain: Service, supervised: Service, plain_first: bool) -> tuple[float, float]:
    """Measure both, once each; who is first has to change, lest a drift of the machine favours one."""
    order = (plain, supervised) if plain_first else (supervised, plain)
    found = {each: _requests_per_second(each, SECONDS) for each in order}
    return found[plain], found[supervised]


def _requests_per_second(each: Service, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", each.url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Socket errors" not in out, out
    assert "Non-2xx" not in out, out
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found is not None, out
    return float(found[1])
