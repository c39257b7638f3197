"""A supervised service on a machine, with a gate at its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen

from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    LIMIT,
    configure,
    install,
    main_pid,
    processes,
    wait_until,
)

SIZE = 2

QUICK = (f"--workers={SIZE}", "--probation=0.1s")

FEW = ("one-shot:2@20", "persistent:2@10")
CLIENTS = 4
"""Of those few; so many requests are in flight at most."""

# A version that is not ready before the test has opened the gate; a worker that waits says so by a file.
GATED = """
import os, pathlib
async def lifespan(receive, send):
    pathlib.Path(os.environ["RUNTIME_DIRECTORY"], f"waits.{os.getpid()}").touch()
    while not os.path.exists("/opt/app/gate"):
        await asyncio.sleep(0.02)
    await _lifespan(receive, send)
ungated = app
async def app(scope, receive, send):
    await (lifespan(receive, send) if scope["type"] == "lifespan" else ungated(scope, receive, send))
"""


def open_gate(machine: Machine) -> None:
    machine.write("/opt/app/gate", "")


def at_gate(machine: Machine) -> set[int]:
    """Return the PIDs of the workers that have waited at the gate and still live."""
    names = machine.run("ls", "/run/app", check=False).stdout.split()
    return {int(name.split(".")[1]) for name in names if name.startswith("waits.")} & processes(machine)


def begin_reload(machine: Machine) -> tuple[Popen[str], list[int]]:
    """Begin a reload to a gated second version; return its command, and its workers, which wait."""
    install(machine, 2, GATED)
    reloading = machine.popen("systemctl", "reload", "app.service")
    wait_until(lambda: len(at_gate(machine)) == SIZE)
    return reloading, sorted(at_gate(machine))


def start(machine: Machine, *options: str, service: str = "") -> int:
    """Start the first version of the load app, and return the supervisor's PID."""
    install(machine, 1)
    configure(machine, *options, service=service)
    machine.run("systemctl", "start", "app.socket", "app.service")
    return main_pid(machine)


def end(command: Popen[str]) -> int:
    """Wait for the end of a command, and return its exit status."""
    command.communicate(timeout=LIMIT)
    return command.returncode


def kill(machine: Machine, *pids: int) -> None:
    assert all(pids)  # 0, of a service without a main process, would be our own process group
    machine.run("kill", "-KILL", *map(str, pids))


def workers(machine: Machine) -> set[int]:
    """Return the PIDs of the supervisor's workers."""
    return processes(machine) - {main_pid(machine)}


@contextmanager
def stream(machine: Machine) -> Iterator[Popen[str]]:
    """Begin a request that lasts for an hour, wait until its response has begun, and kill it at the end."""
    url = "http://127.0.0.1:8000/stream?interval=3600"
    script = (
        f"import urllib.request as u; r = u.urlopen({url!r}); print(r.readline(), flush=True); r.read()"
    )
    with machine.popen("python3", "-c", script) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "b'0\\n'\n"
            yield process
        finally:
            process.kill()
