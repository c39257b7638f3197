"""From the exec of a service to its first answer, as for a client whose connection has activated it.

The socket is passed by LISTEN_FDS, the client has connected and sent its request before; beside uvicorn
with the same socket. All take turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.bench.figures import ratio, spread
from tests.bench.service import service
from tests.support.http_client import connect

ROUNDS = 15
SOCKACT = ("--control=none", "--chdir={folder}", "app:app")
BESIDE = "uvicorn --fd 3"
COMMANDS: Mapping[str, Sequence[str]] = {
    BESIDE: ("-m", "uvicorn", "--fd", "3", "--log-level=warning", "--app-dir={folder}", "app:app"),
    "alone": ("-m", "sockact", "run", "--workers=0", *SOCKACT),
    "supervised, 1 worker": ("-m", "sockact", "run", "--workers=1", *SOCKACT),
    "supervised, 2 workers": ("-m", "sockact", "run", "--workers=2", *SOCKACT),
}


def measure(rounds: int) -> Iterator[str]:
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, command in COMMANDS.items():
            found[name].append(_milliseconds(command))
    for name, times in found.items():
        pairs = list(zip(times[1:], found[BESIDE][1:], strict=True))  # the first fills the caches
        beside = "" if name == BESIDE else f", {ratio(pairs)} times {BESIDE}"
        yield f"{name}: {spread(times[1:], 'ms')}{beside}"


def _milliseconds(command: Sequence[str]) -> float:
    with service() as served, connect(served.listener) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        served.run([sys.executable, *(each.format(folder=served.directory) for each in command)])
        assert client.recv(1)
        return (time.monotonic() - began) * 1000
