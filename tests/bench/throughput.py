"""Requests a second of a supervised worker, beside plain uvicorn with the same loop, parser and socket.

A request's CPU time is that of the process that serves, and tells the same where the machine has other
things to do.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench.figures import ratio, spread
from tests.bench.service import Service, service

ROUNDS = 20
SECONDS = 2
CONNECTIONS = 32

# Not `uvicorn --fd`: socket.fromfd forgets the protocol of the socket, and with it TCP_NODELAY.
PLAIN = """
import socket, sys, uvicorn
sys.path.insert(0, sys.argv[1])
config = uvicorn.Config("app:app", loop="uvloop", http="httptools", access_log=False, log_level="warning")
uvicorn.Server(config).run(sockets=[socket.socket(fileno=3)])
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Requests a second, and the microseconds of CPU that each took."""

    rate: float
    cpu: float

    @classmethod
    def of(cls, server: Service, pid: int) -> Self:
        """Load the process `pid` of `server` for a while."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", server.url]
        before = _cpu(pid)
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = _cpu(pid) - before
        assert "Socket errors" not in out, out
        assert "Non-2xx" not in out, out
        return cls(_number(r"Requests/sec:\s+([\d.]+)", out), used / _number(r"(\d+) requests in", out))


def measure(rounds: int) -> Iterator[str]:
    if shutil.which("wrk") is None:
        yield "skipped: no wrk here (apt install wrk)"
        return
    with service() as plain, service() as supervised:
        both = [(plain, plain.run([sys.executable, "-c", PLAIN, str(plain.directory)]))]
        supervised.supervise("--workers=1")
        both.append((supervised, *supervised.workers))
        for server, pid in both:
            Found.of(server, pid)  # what the first requests import is no matter of throughput
        pairs = [_pair(both, plain_first=number % 2 == 0) for number in range(rounds)]
    plains, ours = zip(*pairs, strict=True)
    for who, found in (("plain uvicorn", plains), ("a supervised worker", ours)):
        rate = spread([each.rate for each in found], "requests/s")
        yield f"{who}: {rate}, {spread([each.cpu for each in found], 'us')} of CPU for each"
    yield f"ratio of requests/s {ratio([(our.rate, other.rate) for other, our in pairs])}, goal 0.97"
    yield f"ratio by CPU time {ratio([(other.cpu, our.cpu) for other, our in pairs])}, goal 0.97"


def _pair(both: list[tuple[Service, int]], *, plain_first: bool) -> list[Found]:
    """Measure both; who is first has to change, lest a drift of the machine favours one."""
    order = both if plain_first else both[::-1]
    found = [Found.of(server, pid) for server, pid in order]
    return found if plain_first else found[::-1]


def _cpu(pid: int) -> float:
    """Return the microseconds that the main thread of a process has had on a CPU."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])
