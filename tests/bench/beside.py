"""The speed of sockact beside the servers of Deploys: throughput, p99, balance and activation.

All run on one machine with real systemd, with 2 workers each, and take turns; who is first changes. `most`
is how many requests a second 32 connections of wrk get answered that ask again at once, and `CPU` the time
of all processes of the service for each of them, in microseconds. `p99` is that of 400 requests a second at
random moments, in milliseconds. `balance` is the share of 32 kept connections that the most loaded process
has, as a multiple of the mean. `activation` is how many milliseconds after its connection a client that
activates the service has its answer; nothing activates granian and nginx.

sockact serves ASGI here; WSGI and Rack have 32 threads in each process. nginx answers by its configuration,
without an app. A ratio is that of our throughput and theirs in the same round.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import wrk
from tests.bench.deploying import Deploys, all_servers
from tests.bench.figures import cell, ratio, table
from tests.bench.servers import DEFAULT, SERVERS, WORKERS, Server
from tests.support.machine.load import load
from tests.support.machine.machine import Machine

ROUNDS = 5
SECONDS = 2
RATE = 400
CROWD = 32
KEPT = f"persistent:{CROWD}@2"

PICTURE = "\n\n![Requests a second and CPU time of each server](beside.svg)"
"""The picture in the page, which `tests.bench.bars_picture` draws out of that."""

# Prints the milliseconds in which a connection that activates the service is answered.
ACTIVATE = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as client:
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: bench\\r\\nConnection: close\\r\\n\\r\\n")
    assert client.recv(12).endswith(b"200"), "no answer"
    print(1000 * (time.monotonic() - began))
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of a server in one round; `activation` is None where nothing activates it."""

    most: float
    cpu: float
    p99: float
    balance: float
    activation: float | None


def measure(rounds: int) -> Iterator[str]:
    if (version := wrk.version()) is None:
        yield "skipped: no wrk here (apt install wrk)"
        return
    with all_servers("bench-beside") as (deploys, versions), tempfile.TemporaryDirectory() as name:
        yield f"{versions}, wrk {version}"
        paced = Path(name, "paced.lua")
        paced.write_text(wrk.PACED.format(rate=RATE))
        found: dict[str, list[Found]] = {server.name: [] for server in SERVERS}
        for number in range(rounds):
            first = number % len(SERVERS)
            for server in SERVERS[first:] + SERVERS[:first]:
                found[server.name].append(_measure(deploys, server, paced))
        yield from table([HEAD, *(_row(server, found) for server in SERVERS)])


HEAD = ("", "most", "ours to theirs", "CPU", "p99", "balance", "activation")


def _row(server: Server, found: dict[str, list[Found]]) -> Sequence[str]:
    ours, theirs = found[DEFAULT.name], found[server.name]
    pairs = [(one.most, other.most) for one, other in zip(ours, theirs, strict=True)]
    started = [each.activation for each in theirs if each.activation is not None]
    return (
        server.name,
        cell([each.most for each in theirs]),
        "" if server is DEFAULT else ratio(pairs),
        cell([each.cpu for each in theirs], 1),
        cell([each.p99 for each in theirs], 1),
        cell([each.balance for each in theirs], 2),
        cell(started) if started else "-",
    )


def _measure(deploys: Deploys, server: Server, paced: Path) -> Found:
    machine = deploys.machine
    url, prefix = f"http://127.0.0.1:{server.port}/", machine.network()
    before = _cpu(machine, server)
    most = wrk.load(url, SECONDS, prefix=prefix)
    cpu = (_cpu(machine, server) - before) / most.count
    steady = wrk.load(url, SECONDS, paced, prefix=prefix)
    if most.errors or steady.errors:
        raise RuntimeError(f"{server.name}: {most.errors + steady.errors} errors")
    return Found(most.rate, cpu, steady.p99, _balance(machine, server), _activation(deploys, server))


def _cpu(machine: Machine, server: Server) -> float:
    """Return the CPU time that a service has taken, in microseconds."""
    shown = machine.show(f"{server.unit}.service", "CPUUsageNSec")
    return int(shown["CPUUsageNSec"]) / 1000


def _balance(machine: Machine, server: Server) -> float:
    """Return how many times the mean the most loaded process has of connections that ask equally often."""
    with load(machine, KEPT, port=server.port) as probe:
        time.sleep(SECONDS)
        seen = probe.report()["seen"]
    responses: Counter[int] = Counter()
    for each in seen:
        responses[each["pid"]] += each["responses"]
    return max(responses.values()) * WORKERS / responses.total()


def _activation(deploys: Deploys, server: Server) -> float | None:
    """Return the milliseconds of an answer that begins with a start of the service."""
    if server.socket is None:
        return None
    machine = deploys.machine
    machine.run("systemctl", "stop", f"{server.unit}.service")
    machine.run("systemctl", "start", f"{server.unit}.socket")
    return float(machine.run("python3", "-c", ACTIVATE, str(server.port)).stdout)
