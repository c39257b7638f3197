"""The wheel and the source distribution, as `units/package` builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.manager import CHECKOUT

LIMIT = 600
WHEELS = CHECKOUT / f".wheels/cp{sys.version_info[0]}{sys.version_info[1]}"
A_TIME, ANOTHER = 1_700_000_000, 1_800_000_000
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
"""


@pytest.fixture(scope="module", autouse=True)
def tools(lacking: Callable[[str], NoReturn]) -> None:
    if not (WHEELS / "tools/bin/hatchling").exists():
        lacking("not installed: .wheels (units/provision wheels)")


def copy(folder: Path, time: int) -> Path:
    """Copy the checkout as a clone would have it, but for the times of its files."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        source, target = CHECKOUT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            os.utime(target, (time, time))
    (folder / ".wheels").symlink_to(CHECKOUT / ".wheels")
    return folder


def build(checkout: Path, output: Path, epoch: int) -> dict[str, bytes]:
    """Build both packages; return them by name."""
    environ = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": str(epoch)}
    subprocess.run([checkout / "units/package", output, "python"], env=environ, check=True, timeout=LIMIT)
    return {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Give a build, and its folder."""
    folder = tmp_path_factory.mktemp("first")
    return folder / "dist", build(copy(folder / "checkout", A_TIME), folder / "dist", A_TIME)


def test_two_builds_in_other_folders_at_other_times_are_the_same(
    first: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    again = build(copy(tmp_path / "elsewhere/shop", ANOTHER), tmp_path / "dist", A_TIME)

    assert sorted(again) == sorted(first[1])
    assert [name for name in again if again[name] != first[1][name]] == []


def test_a_build_of_another_date_is_not_the_same(
    first: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    """The comparison above can see a difference."""
    again = build(copy(tmp_path / "checkout", A_TIME), tmp_path / "dist", ANOTHER)

    assert len([name for name in again if again[name] != first[1][name]]) == len(again) == 2


def test_the_wheel_works_in_a_clean_environment(
    first: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=LIMIT)
    pip = [WHEELS / "tools/bin/pip", "--python", venv / "bin/python", "install", "--quiet"]
    environ = {"PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    (wheel,) = first[0].glob("*.whl")
    offline = ["--no-index", "--find-links", WHEELS]
    subprocess.run([*pip, *offline, wheel], env=environ, check=True, timeout=LIMIT)
    (tmp_path / "app.py").write_text(APP)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(venv / "bin" / words[0]), *words[1:]]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False
        )

    assert run("sockact", "--version").stdout == "sockact 0.1.0\n"
    checked = run("sockact", "check-app", "--warmup-path=/", "app:app")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = run("python", "-c", "import sockact.engines.http.connection as found; print(found.__file__)")
    assert found.stdout.startswith(str(venv)), found.stderr
