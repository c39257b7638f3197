"""Workers that are forked from a template (`--preload`): their memory, their start, and that of a reload.

Memory is the PSS of all processes of a server, whose workers have answered their shares of the requests;
servers take turns. The replacement of a worker is timed from SIGKILL to the first answer on a connection
that waits meanwhile. A reload ends with READY=1; the probation of 1 s is in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.figures import spread
from tests.bench.foreign import GRANIAN, GUNICORN, Packages, packages, serving
from tests.bench.proc import children, memory
from tests.bench.service import HELLO, Service, service
from tests.support.http_client import Client
from tests.support.manager import wait_until

ROUNDS = 3
REQUESTS = 10_000
CONNECTIONS = 40
IMPORT_SECONDS = 2
SLOW_IMPORT = f"import time\ntime.sleep({IMPORT_SECONDS})\n{HELLO}"
MODES: Mapping[str, Sequence[str]] = {"with preload": ("--preload",), "without": ()}
PROJECT = Path(__file__).parent / "apps" / "django_project.py"


def measure(rounds: int) -> Iterator[str]:
    yield f"4 workers of an app that does nothing, after {REQUESTS:,} requests"
    for mode, options in MODES.items():
        found = [_hello(4, options) for _ in range(rounds)]
        yield f"  sockact {mode}: {spread(found, 'MB')}" + (", goal 50" if options else "")
    with packages(("django",)) as where:
        yield from _with_django(where, 8, rounds)
    for mode, options in MODES.items():
        found = [_replacement(options) for _ in range(rounds)]
        goal = ", goal 60" if options else ""
        yield f"first answer of a killed worker's replacement, {mode}: {spread(found, 'ms')}{goal}"
    for mode, options in MODES.items():
        found = [_reload(options) for _ in range(rounds)]
        goal = ", goal 3.5" if options else ""
        yield f"reload of 16 workers of an app that imports for 2 s, {mode}: {spread(found, 's')}{goal}"


def _hello(workers: int, options: Sequence[str]) -> float:
    with service() as served:
        served.supervise(f"--workers={workers}", *options)
        return _pss(served.manager.pid, served.address)


def _pss(pid: int, address: object) -> float:
    """Return the memory of a process and its descendants when they have answered."""
    for _ in range(CONNECTIONS):
        with Client(address) as client:
            for _ in range(REQUESTS // CONNECTIONS):
                assert client.get().status == 200
    return sum(memory(each).pss for each in _family(pid))


def _family(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in _family(child))]


def _with_django(where: Packages, workers: int, rounds: int) -> Iterator[str]:
    if where.problem:
        yield f"Django was not measured: {where.problem}"
        return
    size = f"--workers={workers}"
    commands = {
        "gunicorn --preload": (*GUNICORN, size, "--preload"),
        "granian": (*GRANIAN, "--interface=wsgi", "--blocking-threads=8", size, "{app}"),
    }
    found: dict[str, list[float]] = {name: [] for name in ("sockact --preload", *commands)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(PROJECT, folder / "project.py")
        subprocess.run([where.python, "project.py"], cwd=folder, check=True)
        for _ in range(rounds):
            found["sockact --preload"].append(_sockact_django(where, folder, size))
            for server, command in commands.items():
                with serving(where.python, command, folder, "project:app") as (port, pid):
                    found[server].append(_pss(pid, ("127.0.0.1", port)))
    yield f"{workers} workers of a Django project with admin and ORM, 8 threads each"
    for server, values in found.items():
        yield f"  {server}: {spread(values, 'MB')}"


def _sockact_django(where: Packages, folder: Path, size: str) -> float:
    with service() as served:
        options = (f"--chdir={folder}", "--control=none", "--preload", "--threads=8", size)
        served.run([where.python, "-m", "sockact", "run", *options, "project:app"])
        served.manager.wait_ready()
        return _pss(served.manager.pid, served.address)


def _replacement(options: Sequence[str]) -> float:
    """Return the milliseconds from the death of the only worker to the next answer."""
    with service() as served:
        pid = served.supervise("--workers=1", *options)
        wait_until(lambda: _answers(served))
        (worker,) = (each for each in children(pid) if _name(each) != "sockact-forks")
        began = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{worker}/fd").exists() or _is_dead(worker))
        assert _answers(served)
        return (time.monotonic() - began) * 1000


def _answers(served: Service) -> bool:
    with contextlib.suppress(OSError, AssertionError), Client(served.address) as client:
        return client.get().status == 200
    return False


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _is_dead(pid: int) -> bool:
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def _reload(options: Sequence[str]) -> float:
    """Return the seconds from SIGHUP to READY=1."""
    with service(SLOW_IMPORT) as served:
        served.supervise("--workers=16", *options)
        began = time.monotonic()
        served.reload()
        return time.monotonic() - began
