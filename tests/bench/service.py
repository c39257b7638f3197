"""A service to be measured: started as systemd would, with its socket, in a directory of its own."""

from __future__ import annotations

import compileall
import contextlib
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sockact
from sockact.sockets.fds import Listener
from tests.bench.proc import children
from tests.support.manager import LIMIT, Manager, listening, wait_ended

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})
"""
"""An app that does nothing, so that nothing but the server is measured; it refuses lifespan events."""


class Service:
    """One main process with its listener; its program finds `app.py` in the working directory."""

    def __init__(self, directory: Path, listener: Listener) -> None:
        self.directory = directory
        self.listener = listener
        self.manager = Manager(directory / "stderr.log")

    @property
    def url(self) -> str:
        """The address on which it is served."""
        return f"http://{self.listener.address}"

    @property
    def address(self) -> Any:
        """The same, as a socket gives it."""
        assert self.listener.sock is not None
        return self.listener.sock.getsockname()

    @property
    def workers(self) -> set[int]:
        """The PIDs of its children."""
        return children(self.manager.pid)

    def journal(self) -> str:
        """Return a JOURNAL_STREAM with which records go to the journal, by libsystemd, as under systemd."""
        log = self.manager.log
        log.touch()
        return f"{log.stat().st_dev}:{log.stat().st_ino}"

    def supervise(self, *options: str, app: str = "app:app", **environ: str) -> int:
        """Start a supervisor, wait until its workers are ready, and return its PID."""
        options = (f"--chdir={self.directory}", "--control=none", *options)
        pid = self.manager.sockact(app, *options, listeners=[self.listener], **environ)
        self.manager.wait_ready()
        return pid

    def run(self, argv: Sequence[str]) -> int:
        """Start another program with the same socket."""
        return self.manager.start(argv, [self.listener])

    def reload(self) -> None:
        """Reload, and wait until the new workers serve."""
        self.manager.signal(signal.SIGHUP)
        self.manager.wait_for("RELOADING", "1", LIMIT)
        self.manager.wait_for("READY", "1", LIMIT)

    def wait_gone(self, workers: set[int]) -> None:
        """Wait until these have ended, without a look again and again: that would take a CPU from them."""
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                wait_ended(worker)

    def close(self) -> None:
        """End it in good order."""
        if self.manager.pid:
            self.manager.signal(signal.SIGTERM)
            self.manager.wait_exit()
        self.manager.close()
        self.listener.close()


def compile_sockact() -> None:
    """Do what pip does when it installs: otherwise all figures would tell of the compiler."""
    compileall.compile_dir(Path(sockact.__file__).parent, quiet=1)


@contextlib.contextmanager
def service(app: str = HELLO) -> Iterator[Service]:
    """Give a service, not yet started, that ends with the block."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "app.py").write_text(app)
        with contextlib.closing(Service(Path(name), listening())) as service:
            yield service
