"""What an import costs, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"uvicorn", "uvloop", "asyncio", "a2wsgi", "httptools", "websockets", "h11", "http.server"}


def test_adoption_alone_needs_neither_uvicorn_nor_an_event_loop() -> None:
    program = "import sys, sockact; sockact.adopt(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not HEAVY & set(done.stdout.split())
    assert done.stderr == ""


def test_the_command_reload_needs_neither_uvicorn_nor_uvloop() -> None:
    program = "import sys, sockact.cli, sockact.control; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"uvicorn", "uvloop", "a2wsgi", "httptools", "websockets"} & set(done.stdout.split())
