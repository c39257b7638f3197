"""`sockact doctor` where there is no systemd, or no service."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import SOCKACT
from tests.support.manager import LIMIT
from tests.support.unit_cases import BASES, write


def doctor(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [*SOCKACT, "doctor", *words]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, env=env)


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nowhere"], ids=["as it is", "without systemctl"])
def test_a_machine_is_looked_at_whatever_it_has(path: str) -> None:
    done = doctor(PATH=path)

    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert done.stdout.startswith("this machine: ")


def test_a_unit_that_does_not_exist_is_wrong_usage() -> None:
    done = doctor("nothing")

    assert (done.returncode, done.stdout) == (64, "")
    assert "no such unit is here" in done.stderr


def test_a_file_without_a_manager_that_knows_it_is_looked_at_as_a_file(tmp_path: Path) -> None:
    write(tmp_path, BASES["app"])

    done = doctor(str(tmp_path / "app.service"), "--json", PATH="/nowhere")

    assert done.returncode == 1
    assert done.stderr == ""
    assert "program-missing" in {each["name"] for each in json.loads(done.stdout)["unit"]}


def test_a_socket_without_a_service_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "app.socket").write_text("[Socket]\nListenStream=1\n")

    done = doctor(str(tmp_path / "app.socket"))

    assert done.returncode == 64
    assert "expected the name of a service" in done.stderr
