"""The cost of an import, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"uvloop", "asyncio", "httptools", "websockets", "http.server"}


def test_adoption_alone_needs_neither_an_http_engine_nor_an_event_loop() -> None:
    program = "import sys, sockact; sockact.adopt(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not HEAVY & set(done.stdout.split())
    assert done.stderr == ""


def test_the_command_reload_needs_neither_an_http_engine_nor_uvloop() -> None:
    program = "import sys, sockact.cli.main, sockact.protocols.control; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"uvloop", "httptools", "websockets"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("environ", "shut_out"),
    [({}, True), ({"SOCKACT_WORKERS": "0"}, False), ({"SOCKACT_SUPERVISED": "1"}, False)],
    ids=["supervisor", "alone", "worker"],
)
def test_only_a_supervisor_does_without_ssl(environ: dict[str, str], shut_out: bool) -> None:
    program = (
        "import os, sys; from sockact.process import without_ssl;"
        "without_ssl.before_asyncio((), {}, os.environ);"
        "import sockact.supervisor.main; print(sys.modules['ssl'] is None, *sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)

    first, *loaded = done.stdout.split()
    assert first == str(shut_out)
    assert not {"uvloop", "httptools", "websockets"} & set(loaded)
