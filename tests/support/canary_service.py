"""A service with a canary under load, to see which releases it refuses, and whether anything is lost.

`python -m tests.support.canary_service --bad 20 --good 50` reloads as often, and prints what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sockact.protocols import control
from tests.support.manager import CHECKOUT, LIMIT

APP = """
import random

VERSION, FAILS = {version!r}, {fails}

async def app(scope, receive, send):
    if scope["type"] != "http":
        message = await receive()
        await send({{"type": message["type"] + ".complete"}})
        return
    if random.random() < FAILS:
        raise RuntimeError("this release fails")
    fields = [(b"content-length", b"2"), (b"x-version", VERSION.encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": fields}})
    await send({{"type": "http.response.body", "body": b"ok"}})
"""

USUAL = 0.002
"""The part of all requests that fails in any release."""

PAUSE = 0.02
"""Seconds between two requests of a client."""


class CanaryService:
    """The service, with clients that keep their connections.

    Args:
        options: further options of `sockact run`.
        clients: how many there are.
        fails: the part of all requests that fails in the first release.

    Attributes:
        results: how many responses there were, by version and status; and what was lost, by its reason.
    """

    def __init__(self, *options: str, clients: int = 24, fails: float = 0.0) -> None:
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._control = self._folder / "control.sock"
        self._options = options
        self._clients = clients
        self._fails = fails
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._versions = itertools.count(2)
        self.results: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.address: tuple[str, int] = sock.getsockname()
        self.release("1", self._fails)
        command = [sys.executable, "-m", "sockact", "run", "--chdir", str(self._folder)]
        where = ["--listen", f"{self.address[0]}:{self.address[1]}", "--control", str(self._control)]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
        self._log = self._stack.enter_context((self._folder / "log").open("w+"))
        self.process = subprocess.Popen(
            [
                *command,
                *where,
                "--log-level=error",
                "--probation=0.1s",
                "--drain-timeout=5s",
                *self._options,
                "app:app",
            ],
            env=environ,
            stderr=self._log,
        )
        try:
            self._wait_active()
        except BaseException:
            self.process.terminate()
            raise
        self._threads = [threading.Thread(target=self._ask) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.process.terminate()
        try:
            self.process.wait(LIMIT)
        finally:
            self.process.kill()
            self.process.wait()
            self._stack.close()

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "log").read_text()

    def status(self) -> dict[str, Any]:
        """Return its status."""
        found: dict[str, Any] = control.request("status", str(self._control))["service"]
        return found

    def _wait_active(self) -> None:
        deadline = time.monotonic() + 5 * LIMIT  # beside long runs of its own command
        while not self._active():
            assert time.monotonic() < deadline, self.log()
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)

    def _active(self) -> bool:
        try:
            return bool(self.status()["phase"] == "active")
        except Exception:  # noqa: BLE001 - it starts yet
            return False

    def release(self, version: str, fails: float = 0.0) -> None:
        """Put a release in place, of which such a part of all requests fails."""
        new = self._folder / "app.py.new"
        # Of a size of its own, so that no bytecode is taken for it that was made in the same second.
        new.write_text(APP.format(version=version, fails=fails) + "#" * int(version))
        new.rename(self._folder / "app.py")

    def reload(self, fails: float = 0.0) -> tuple[bool, str]:
        """Reload with a new release; return whether it serves, and the answer."""
        version = f"{next(self._versions)}"
        self.release(version, fails)
        answer = control.request("reload", str(self._control), patience=None)
        return answer["ok"], answer["text"]

    @property
    def lost(self) -> dict[str, int]:
        """What was lost, by its reason."""
        return {why: count for (why, status), count in self.results.items() if not status}

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        while not self._ended.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                key = response.headers.get("x-version", ""), str(response.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                key = repr(error), ""
            with self._lock:
                self.results[key] += 1
            time.sleep(PAUSE)
        connection.close()


def _told(service: CanaryService, name: str, fails: float, times: int) -> Iterator[str]:
    refused = 0
    for number in range(1, times + 1):
        ok, text = service.reload(fails)
        refused += not ok
        while ok and fails > USUAL:  # back to one that is as before
            ok = not service.reload(USUAL)[0]
        yield f"{name} {number}: {text}"
    yield f"{name}: refused {refused} of {times}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.canary_service")
    parser.add_argument("--bad", type=int, default=20, help="releases that fail 5 %% of their requests")
    parser.add_argument("--good", type=int, default=50, help="releases that are as the first")
    parser.add_argument("--canary-for", default="5s", help="the time of each canary")
    parser.add_argument("--clients", type=int, default=24)
    given = parser.parse_args()
    options = ("--workers=2", "--canary=1", f"--canary-for={given.canary_for}")
    with CanaryService(*options, clients=given.clients, fails=USUAL) as service:
        for lines in (
            _told(service, "5 % fail", 0.05, given.bad),
            _told(service, "as before", USUAL, given.good),
        ):
            for line in lines:
                print(line, flush=True)
        print(f"responses: {sum(service.results.values()):,}; lost: {service.lost or 'none'}")


if __name__ == "__main__":
    main()
