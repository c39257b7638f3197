"""Troubles of the virtual environment of a service: nothing in it is run, since doctors are often root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sockact.doctor.facts import PACKAGES, Facts
from sockact.doctor.remark import trouble

OLDEST = (3, 11)


@trouble
def interpreter_missing(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the environment's link to Python leads nowhere."""
    if facts.python and not facts.python.interpreter:
        folder = facts.python.folder
        yield (
            f"{folder}/bin/python3 leads nowhere: Python was removed",
            f"/usr/bin/python3 -m venv --upgrade {folder}",
        )


@trouble
def interpreter_old(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if Python is older than what sockact needs."""
    found = _version(facts)
    if found and found < OLDEST:
        yield (
            f"Python {found[0]}.{found[1]} is too old: sockact needs {OLDEST[0]}.{OLDEST[1]}",
            "a newer Python",
        )


@trouble
def interpreter_upgraded(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the packages were installed for another version of Python."""
    found = _version(facts)
    if (
        facts.python
        and found
        and facts.python.libraries
        and facts.python.libraries != f"{found[0]}.{found[1]}"
    ):
        text = (
            f"packages for Python {facts.python.libraries}, and Python {found[0]}.{found[1]} that runs them"
        )
        yield f"{facts.python.folder} has {text}", "make the environment anew, and install everything"


@trouble
def package_missing(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if a library of sockact is not installed."""
    if facts.python and facts.unit and facts.unit.is_sockact and facts.python.packages:
        missing = [name for name in ("sockact", *PACKAGES) if name not in facts.python.packages]
        if missing and "sockact" in facts.python.packages:
            text = f"{facts.python.folder} has no {', '.join(missing)}".replace("_", "-")
            yield text, f"{facts.python.folder}/bin/pip install --force-reinstall sockact"


@trouble
def module_for_another_python(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if compiled modules are for another version of Python."""
    if facts.python and facts.python.foreign:
        some = ", ".join(facts.python.foreign[:3])
        yield (
            f"compiled for another Python: {some}",
            f"{facts.python.folder}/bin/pip install --force-reinstall",
        )


def _version(facts: Facts) -> tuple[int, int] | None:
    match = re.search(r"python(\d+)\.(\d+)$", facts.python.interpreter) if facts.python else None
    return (int(match[1]), int(match[2])) if match else None
