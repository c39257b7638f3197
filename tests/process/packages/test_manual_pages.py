"""The manual pages of the Debian package, made of the parsers and of docs/units.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sockact.cli.main import COMMANDS
from tests.support.manager import CHECKOUT

LIMIT = 300
PAGES = ["sockact.1", *(f"sockact-{name}.1" for name in COMMANDS), "sockact.units.7"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Path:
    for program in ("help2man", "lowdown", "man"):
        needs(program, "package")
    folder = tmp_path_factory.mktemp("pages")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(CHECKOUT / "units/manpages.py"), str(folder)]
    subprocess.run(command, env=environ, check=True, timeout=LIMIT)
    return folder


def rendered(page: Path) -> tuple[str, str]:
    """Return the page as a terminal of 80 columns shows it, and what is wrong with it."""
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "TERM": "dumb"}
    done = subprocess.run(
        ["man", "--warnings", "--local-file", str(page)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return done.stdout, done.stderr


def test_each_command_has_a_page_that_renders_without_a_warning(pages: Path) -> None:
    assert sorted(path.name for path in pages.iterdir()) == sorted(PAGES)
    for name in PAGES:
        text, warnings = rendered(pages / name)
        assert warnings == "", name
        assert f"NAME\n       {Path(name).stem} - " in text


def test_a_page_with_a_mistake_has_a_warning(pages: Path, tmp_path: Path) -> None:
    page = tmp_path / "wrong.1"
    page.write_text((pages / "sockact.1").read_text() + ".nosuchmacro\n")

    assert "nosuchmacro" in rendered(page)[1]


def test_a_page_has_both_forms_of_the_command_and_all_of_its_options(pages: Path) -> None:
    text, _ = rendered(pages / "sockact-run.1")

    assert "sockact run [OPTION...] [[NAME=]MODULE:ATTRIBUTE...]" in text
    assert "sockact run [OPTION...] -- PROGRAM [ARGUMENT...]" in text
    assert "--drain-timeout TIME" in text
    assert "EXAMPLES" in text.upper()
