"""`sockact reload`, `status` and `check-app`, as tests call them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sockact.cli import main
from sockact.protocols import control
from tests.support.manager import CHECKOUT, LIMIT, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import Service

SOCKACT = [sys.executable, "-m", "sockact"]

PATH = {"PYTHONPATH": str(CHECKOUT)}

BY_DEFAULT = ("env", "-u", "SOCKACT_WORKERS")


def ask_for_reload(service: Service, **environ: str) -> subprocess.Popen[str]:
    """Start `sockact reload`, as ExecReload= would."""
    environ = {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(service.directory), **environ}
    return subprocess.Popen(
        [*SOCKACT, "reload"], env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def reload(service: Service) -> tuple[int, str]:
    """Reload, and return the exit status and what was printed."""
    with ask_for_reload(service) as caller:
        try:
            out, err = caller.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            caller.kill()  # or `with` would wait for it
            raise
        return caller.returncode, out + err


def wait_until_heard(caller: subprocess.Popen[str]) -> None:
    """Wait until the caller has nothing left to do but to wait for the answer."""

    def waits() -> bool:
        assert caller.poll() is None
        return "unix_stream" in Path(f"/proc/{caller.pid}/wchan").read_text()

    wait_until(waits)


def wait_until_read(service: Service) -> None:
    """Wait until the service has read all that came before on its control socket."""
    answer = control.request("nonsense", str(service.directory / "sockact.sock"))
    assert not answer["ok"]
    assert answer["text"].startswith("unknown verb 'nonsense': expected ")


def reload_all(service: Service, pid: int) -> None:
    """Reload, and wait until the old workers have ended."""
    old = workers(pid)
    assert reload(service)[0] == 0
    for worker in old:
        wait_gone(worker)


def ask(
    service: Service, *arguments: str, verb: str = "status", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `sockact status`, or another command, as a process of the service would."""
    known = {"MAINPID": str(service.manager.pid), "RUNTIME_DIRECTORY": str(service.directory)}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **known, **environ}
    command = [*SOCKACT, verb, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=LIMIT, check=False)


def status(service: Service) -> Any:
    done = ask(service, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(service: Service, *words: str, **environ: str) -> tuple[int, str, str]:
    """Run `sockact check-app`; return its exit status and what it printed."""
    environ = {"PATH": os.environ["PATH"], "GATE": service.gate.path, **environ}
    command = [*SOCKACT, "check-app", *words]
    done = subprocess.run(
        command,
        env=environ,
        cwd=service.directory,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command in this process."""
    # A reload dies of SIGTERM as ExecReload= shall, and both of SIGPIPE: not the process of the tests.
    with pytest.raises(SystemExit) as ended, mock.patch.object(signal, "signal"):
        main.main(words)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def run_sockact(words: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(directory), "LANG": "C.UTF-8", **PATH}
    command = [sys.executable, "-m", "sockact", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
