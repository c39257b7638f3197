"""Completions, typed into the shells themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.manager import CHECKOUT
from tests.support.terminal import program_on_terminal

LIMIT = 120
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "PS1='ready> '; source ./sockact", "sockact"),
    "zsh": (
        ["zsh", "--no-rcs", "-i"],
        "PS1='ready> '; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; setopt menu_complete",
        "_sockact",
    ),
}
TYPED = [
    ("sockact chec", "sockact check"),  # check and check-app
    ("sockact dev --drain-ti", "sockact dev --drain-timeout"),
    ("sockact run --loop as", "sockact run --loop asyncio"),
    ("sockact units --manager sy", "sockact units --manager system"),
    ("sockact run --chdir rel", "sockact run --chdir releases"),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_completes_commands_options_choices_and_folders(
    tmp_path: Path, needs: Callable[..., None], shell: str
) -> None:
    needs(shell, "package")
    command, setup, name = SHELLS[shell]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    made = subprocess.run(
        [sys.executable, str(CHECKOUT / "units/completion.py"), shell],
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
        timeout=LIMIT,
    )
    (tmp_path / name).write_bytes(made.stdout)
    (tmp_path / "releases").mkdir()

    with program_on_terminal(tmp_path, *command, HOME=str(tmp_path)) as terminal:
        terminal.type(f"{setup}; echo set-'up'\n")
        terminal.wait_for("set-up")
        terminal.wait_for("ready> ")
        for typed, completed in TYPED:
            terminal.shown = ""
            terminal.type(f"{typed}\t")
            terminal.wait_for(completed)
            terminal.type("\x15")  # forget the line
