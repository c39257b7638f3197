"""Programs that nobody here wrote: run to their end, or until the end of a block."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

from tests.support.http_client import connect
from tests.support.manager import LIMIT, wait_until

VERSION = re.compile(r"\d+(?:\.\d+)+")


def run(*command: str, data: bytes = b"") -> str:
    """Run a program to its end, which must be a success, and return what it has printed."""
    status, output = _run(*command, data=data)
    assert status == 0, output
    return output


def version_of(*command: str) -> str:
    """Return the version that a program prints, with whatever exit status."""
    found = VERSION.search(_run(*command)[1])
    assert found
    return found[0]


def _run(*command: str, data: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(
        command,
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


@contextlib.contextmanager
def running(*command: str, until: Callable[[], bool]) -> Iterator[None]:
    """Run a server in the foreground until the end of the block; it serves when the block begins."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or until())
        assert process.poll() is None, process.communicate()[0].decode(errors="replace")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def accepts(port: int) -> bool:
    """Return whether somebody listens on a port of this host."""
    with contextlib.suppress(ConnectionRefusedError):
        connect(("127.0.0.1", port)).close()
        return True
    return False
