"""Makes docs/check-examples.md: `python -m tests.support.check_examples >docs/check-examples.md`."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from sockact.cli import main
from tests.support.unit_cases import CHECKOUT

EXAMPLES = {
    "gunicorn": "gunicorn with a socket unit, as many have it",
    "uvicorn": "uvicorn without one",
    "puma": "Puma, with two sockets",
    "six-mistakes": "sockact, with six mistakes",
    "by-hand": "A service written by hand",
}
INTRODUCTION = """# Check: examples

<!-- Made by `python -m tests.support.check_examples >docs/check-examples.md`; do not edit it. -->

The output of `sockact check` for the units in [tests/units](../tests/units), and of `sockact units --from`,
which writes units that do the same; of these the lines are shown that are not the same for all services.
"""

KEPT = ("# /", "Listen", "ExecStart=", "User=", "Group=", "EnvironmentFile=", "Socket")
"""The beginnings of these lines."""


def page() -> str:
    """Return the whole text."""
    return "\n".join([INTRODUCTION, *(section(name, title) for name, title in EXAMPLES.items())])


def section(name: str, title: str) -> str:
    folder = CHECKOUT / "tests/units" / name
    units = [f"```ini\n# {path.name}\n{path.read_text()}```\n" for path in sorted(folder.iterdir())]
    (service,) = (path.name for path in folder.iterdir() if path.suffix == ".service")
    venv = ["--venv", "/srv/shop/venv"] if name == "gunicorn" else []  # its own is Debian's
    units_from = ["units", "--from", f"./{name}/{service}", "--systemd", "257", *venv]
    commands = ["check", f"./{name}"], units_from
    outputs = [f"```\n$ sockact {' '.join(words)}\n{output(words)}```\n" for words in commands]
    return "\n".join([f"## {title}\n", *units, *outputs])


def output(words: list[str]) -> str:
    """Return what a command prints in the folder of the examples; of units only some lines."""
    printed, said = io.StringIO(), io.StringIO()
    before = os.getcwd()
    os.chdir(CHECKOUT / "tests/units")
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(said),
            contextlib.suppress(SystemExit),
        ):
            main.main(words)
    finally:
        os.chdir(before)
    lines = printed.getvalue().splitlines(keepends=True)
    if words[0] == "units":
        lines = [line for line in lines if line.startswith(KEPT)]
    here = [line for line in said.getvalue().splitlines(keepends=True) if "on this machine" not in line]
    return "".join([*here, *lines])


if __name__ == "__main__":
    sys.stdout.write(page())
