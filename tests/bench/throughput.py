"""Requests a second and p99 of the latency, beside uvicorn, granian and gunicorn (gthread).

Each server has one process that serves; WSGI apps have 8 threads. sockact's is a supervised worker as it is
shipped; the CPU time of a request is that of all processes of a server. wrk has 32 connections, and asks as
fast as it is answered, or at a rate: p99 can be compared only at the same. It is then that of a queue with
random arrivals, in steps of wrk's timers of 1 ms; a connection that is busy when it should ask is late.

In a round all servers take turns, and who is first changes. Ratios are medians of those in each round.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import wrk
from tests.bench.crowd import Crowd, descriptors
from tests.bench.figures import cell, ratio, table
from tests.bench.foreign import SERVERS, THREADS, Packages, packages, serving
from tests.bench.proc import family_cpu
from tests.bench.service import service
from tests.bench.wrk import PACED, UPLOAD, Load, load

ROUNDS = 5
SECONDS = 2
OURS = "sockact"
APPS = Path(__file__).with_name("apps")


@dataclass(frozen=True, slots=True)
class Case:
    """A comparison of the servers.

    Attributes:
        what: as a heading.
        app: module, and the name in it.
        script: for wrk.
        idle: connections in the background.
        rate: requests a second; 0 for as many as can be.
        without: servers that cannot reach this rate.
        goals: for each server, how many times its rate ours has to be, at least.
    """

    what: str
    app: tuple[str, str]
    script: str = ""
    idle: int = 0
    rate: int = 0
    without: Sequence[str] = ()
    goals: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one measurement; `cpu` is in microseconds for each request."""

    load: Load
    cpu: float
    closed: int


GOALS = {"asgi": {"uvicorn": 1.8, "granian": 1.1}, "wsgi": {"gunicorn": 8.0, "granian": 0.6}}
RATES: Mapping[str, Sequence[tuple[int, Sequence[str]]]] = {
    "asgi": ((10_000, ()),),
    "wsgi": ((1_000, ()), (10_000, ("gunicorn",))),
}
"""Requests a second, and the servers that cannot reach them."""


def measure(rounds: int) -> Iterator[str]:
    if (version := wrk.version()) is None:
        yield "skipped: no wrk here (apt install wrk)"
        return
    with packages() as where, descriptors():
        yield ", ".join(
            [*(f"{name} {found}" for name, found in where.versions().items()), f"wrk {version}"]
        )
        if where.problem:
            yield f"skipped: {where.problem}"
        for interface in SERVERS:
            for case in _cases(interface):
                yield from _compare(interface, case, where, rounds)


def _cases(interface: str) -> Iterator[Case]:
    small = (interface, "small")
    yield Case("a small response", small, goals=GOALS[interface])
    for rate, without in RATES[interface]:
        yield Case(
            f"a small response, {rate:,} requests/s", small, PACED.format(rate=rate), 0, rate, without
        )
    yield Case("a small response, beside 1,000 idle connections", small, idle=1_000)
    yield Case("a response of 64 KiB", (interface, "large"))
    yield Case("an upload of 100 KiB", (interface, "upload"), UPLOAD.format(size=100 * 1024))
    framework = {"asgi": "Starlette", "wsgi": "Flask"}[interface]
    yield Case(f"{framework} with one middleware", (f"{interface}_framework", "app"))


def _compare(interface: str, case: Case, where: Packages, rounds: int) -> Iterator[str]:
    there = where.versions()
    yield f"{interface.upper()}, {case.what}"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        script = Path(name, "case.lua") if case.script else None
        if script is not None:
            script.write_text(case.script)
        servers = [stack.enter_context(_ours(case, where.python))]
        for other, arguments in SERVERS[interface].items():
            if other in there and other not in case.without:
                servers.append(stack.enter_context(_theirs(other, arguments, case, where.python)))
        for server in servers:
            _measure(server, case, script)  # what the first requests import is no matter of throughput
        found: dict[str, list[Found]] = {server.name: [] for server in servers}
        for number in range(rounds):
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                found[server.name].append(_measure(server, case, script))
    yield from _report(case, found)


@contextlib.contextmanager
def _ours(case: Case, python: str) -> Iterator[Server]:
    module, name = case.app
    with service((APPS / f"{module}.py").read_text()) as served:
        options = ("--workers=1", f"--threads={THREADS}", f"--chdir={served.directory}", "--control=none")
        pid = served.run([python, "-m", "sockact", "run", *options, f"app:{name}"])
        served.manager.wait_ready()
        yield Server(OURS, served.address[1], pid)


@contextlib.contextmanager
def _theirs(name: str, arguments: Sequence[str], case: Case, python: str) -> Iterator[Server]:
    module, attribute = case.app
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "app.py").write_text((APPS / f"{module}.py").read_text())
        with serving(python, arguments, Path(directory), f"app:{attribute}") as (port, pid):
            yield Server(name, port, pid)


def _measure(server: Server, case: Case, script: Path | None) -> Found:
    with Crowd(("127.0.0.1", server.port), case.idle) as crowd:
        before = family_cpu(server.pid)
        found = load(f"http://127.0.0.1:{server.port}", SECONDS, script)
        used = family_cpu(server.pid) - before
        return Found(found, 1e6 * used / max(found.count, 1), case.idle - crowd.open())


def _report(case: Case, found: Mapping[str, Sequence[Found]]) -> Iterator[str]:
    rows = [("", "requests/s", "p99 in ms", "us of CPU each", "")]
    for name, each in found.items():
        rate, p99 = cell([one.load.rate for one in each]), cell([one.load.p99 for one in each], 2)
        rows.append((name, rate, p99, cell([one.cpu for one in each], 1), _faults(each)))
    yield from table(rows)
    for other in [name for name in found if name != OURS]:
        pairs = list(zip(found[OURS], found[other], strict=True))
        if case.rate:
            p99 = ratio([(our.load.p99, their.load.p99) for our, their in pairs])
            yield f"  p99 {p99} times that of {other}, goal at most 1.0"
        else:
            rate = ratio([(our.load.rate, their.load.rate) for our, their in pairs])
            goal = f", goal {case.goals[other]}" if case.goals else ""
            cpu = ratio([(their.cpu, our.cpu) for our, their in pairs])
            yield f"  {rate} times the requests/s of {other}{goal}; by CPU time {cpu}"


def _faults(found: Sequence[Found]) -> str:
    errors, closed = sum(each.load.errors for each in found), sum(each.closed for each in found)
    faults = [f"{errors} errors"] * bool(errors) + [f"{closed} idle connections closed"] * bool(closed)
    return ", ".join(faults)
