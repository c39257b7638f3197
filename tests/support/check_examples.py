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

The output of `sockact check` for the units in [tests/units](../tests/units).
"""


def page() -> str:
    """Return the whole text."""
    return "\n".join([INTRODUCTION, *(section(name, title) for name, title in EXAMPLES.items())])


def section(name: str, title: str) -> str:
    folder = CHECKOUT / "tests/units" / name
    units = [f"```ini\n# {path.name}\n{path.read_text()}```\n" for path in sorted(folder.iterdir())]
    return "\n".join([f"## {title}\n", *units, f"```\n$ sockact check ./{name}\n{output(name)}```\n"])


def output(name: str) -> str:
    """Return what `sockact check` prints in the folder of the examples."""
    printed = io.StringIO()
    before = os.getcwd()
    os.chdir(CHECKOUT / "tests/units")
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main.main(["check", f"./{name}"])
    finally:
        os.chdir(before)
    return printed.getvalue()


if __name__ == "__main__":
    sys.stdout.write(page())
