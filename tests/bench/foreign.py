"""Servers of another make, as their commands start them, with one process that serves."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.support.http_client import Client
from tests.support.manager import LIMIT, wait_until

NEEDED = ("uvicorn", "httptools", "uvloop", "granian", "gunicorn", "starlette", "flask")

THREADS = 8
"""Threads for WSGI, of every server."""

KEPT = 300
"""Seconds for which a connection may be idle: some close it after 2 otherwise."""

UVICORN = (
    *("-m", "uvicorn", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"),
    *(f"--timeout-keep-alive={KEPT}", "--port={port}", "{app}"),
)
GUNICORN = (
    *("-m", "gunicorn", "--worker-class=gthread", f"--threads={THREADS}", "--log-level=warning"),
    *(f"--keep-alive={KEPT}", "--worker-connections=4000", "--bind=127.0.0.1:{port}", "{app}"),
)
GRANIAN = ("-m", "granian", "--log-level=warning", "--port={port}")
SERVERS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "asgi": {"uvicorn": UVICORN, "granian": (*GRANIAN, "--interface=asgi", "--loop=uvloop", "{app}")},
    "wsgi": {
        "gunicorn": GUNICORN,
        "granian": (*GRANIAN, "--interface=wsgi", f"--blocking-threads={THREADS}", "{app}"),
    },
}
"""The arguments of Python by interface and name."""


@dataclass(frozen=True, slots=True)
class Packages:
    """An interpreter that finds the packages that are measured.

    Attributes:
        python: the interpreter, which finds sockact too.
        problem: why some are missing; empty if none is.
    """

    python: str
    problem: str = ""

    def versions(self) -> Mapping[str, str]:
        """Return the versions of those that there are."""
        code = (
            "import sys, importlib.metadata as m\n"
            "there = {d.name.lower(): d.version for d in reversed(list(m.distributions()))}\n"
            "print(*(f'{n}={there[n]}' for n in sys.argv[1:] if n in there))"
        )
        command = [self.python, "-c", code, *NEEDED]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return dict(each.split("=", 1) for each in out.split())


@contextlib.contextmanager
def packages(more: Sequence[str] = ()) -> Iterator[Packages]:
    """Give the packages, and `more`; what is missing is installed for as long as the block."""
    if not (missing := [name for name in (*NEEDED, *more) if not _installed(name)]):
        yield Packages(sys.executable)
        return
    with tempfile.TemporaryDirectory() as name:
        yield _install(Path(name), missing)


def _installed(name: str) -> bool:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(name))
    return False


def _install(directory: Path, missing: Sequence[str]) -> Packages:
    """Install packages beside those that this interpreter finds: those are the same for all servers."""
    python = str(directory / "bin/python")
    try:
        venv.create(directory, with_pip=True)
        (site,) = directory.glob("lib/python*/site-packages")
        (site / "beside.pth").write_text("\n".join(os.path.abspath(each) for each in sys.path))
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *missing]
        subprocess.run(pip, capture_output=True, text=True, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or getattr(error, "output", None) or str(error)
        why = str(said).strip().splitlines()[-1]
        return Packages(sys.executable, f"{', '.join(missing)}: cannot be installed by venv and pip: {why}")
    return Packages(python)


@contextlib.contextmanager
def serving(python: str, arguments: Sequence[str], directory: Path, app: str) -> Iterator[tuple[int, int]]:
    """Start a server; give its port and PID. It ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, *(each.format(port=port, app=app) for each in arguments)]
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with open(directory / "stderr.log", "ab") as log:
        server = subprocess.Popen(command, cwd=directory, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: server.poll() is not None or _answers(port))
        if server.poll() is not None:
            raise RuntimeError(f"{command} has ended: {(directory / 'stderr.log').read_text()}")
        yield port, server.pid
    finally:
        server.terminate()
        try:
            server.wait(LIMIT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(port: int) -> bool:
    try:
        with Client(("127.0.0.1", port)) as client:
            return client.get().status == 200
    except (OSError, AssertionError, ValueError):
        return False
