"""The kernel's account of a process is understood whatever the process calls itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sockact.system import proc

NAMED = """
import sys
open("/proc/self/comm", "wb").write(bytes.fromhex(sys.argv[1]))
print(flush=True)
input()
"""


@pytest.mark.parametrize("name", [b"plain", b") Z 1 (", b"\xff\xfe", b"\n"])
def test_a_process_has_its_state_and_its_parent_whatever_its_name(name: bytes) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAMED, name.hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        stat = proc.stat(child.pid)
        child.stdin.write(b"\n")
    assert stat is not None
    assert stat[0] in ("R", "S")
    assert stat[1] == str(os.getpid())


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass

    assert proc.stat(child.pid) is None
