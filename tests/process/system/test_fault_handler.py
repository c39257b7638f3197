"""faulthandler shows where a process hangs, and kills none when many signals come at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import PATH
from tests.support.manager import wait_until
from tests.support.processes import workers
from tests.support.service import MODES, Service

STACK = """
import ctypes, sys
from sockact.system import fault_handler

class Stack(ctypes.Structure):
    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

fault_handler.enable(2)
stack = Stack()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
print("none" if stack.flags & fault_handler.SS_DISABLE else stack.size, flush=True)
"""
HANG = "import os; os.kill(os.getpid(), 6)"
BURST = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGURG, signal.SIGINT, signal.SIGTERM)
"""SIGCONT discards those that stop a process: TSTP, TTIN, TTOU."""


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(
        command, env=os.environ | PATH, capture_output=True, text=True, timeout=60, check=False
    )


# On a stack of faulthandler's size the sixth signal is one too many; the CPU decides how much each takes.
@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")], ids=["enabled by us", "by Python"])
def test_the_thread_that_handles_signals_has_no_small_stack_for_them(options: tuple[str, ...]) -> None:
    assert run(STACK, *options).stdout == "none\n"


@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")], ids=["enabled by us", "by Python"])
def test_the_stack_of_a_process_that_is_aborted_is_shown(options: tuple[str, ...]) -> None:
    died = run(f"{STACK}\n{HANG}", *options)

    assert died.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in died.stderr
    assert 'File "<string>", line' in died.stderr


@MODES
def test_many_signals_at_once_end_a_process_as_they_say(service: Service, mode: tuple[str, ...]) -> None:
    pid = service.start(*(mode or ("--workers=0",)))
    for each in {pid, *(workers(pid) if mode else ())}:
        os.kill(each, signal.SIGSTOP)
        wait_until(lambda each=each: "T (stopped)" in Path(f"/proc/{each}/status").read_text())
        for number in BURST:
            os.kill(each, number)
        os.kill(each, signal.SIGCONT)

    assert service.manager.wait_exit() in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert "SIGSEGV" not in service.manager.stderr()
