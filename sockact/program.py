"""This very program, to be run again: by the canary, and by the reload that replaces it in place."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from sockact.errors import ReloadRefused

GENERATION = "SOCKACT_GENERATION"
"""Tells the new code how many times the program has been replaced, plus one."""


def command(executable: str = sys.executable, orig_argv: Sequence[str] = sys.orig_argv) -> list[str]:
    """Return the command that started this program.

    The interpreter is named by its path, which may by now lead to another version of it, as the
    new code may want.

    Raises:
        ReloadRefused: there is none to repeat, as in an interactive interpreter.
    """
    rest = list(orig_argv[1:])
    if not executable or not rest or rest == ["-"] or sys.flags.interactive:
        raise ReloadRefused("an interactive interpreter has no command that could be run again")
    return [executable, *rest]


def environment(notifier_variables: Mapping[str, str], generation: int) -> dict[str, str]:
    """Return the environment in which the new code takes over from `generation`."""
    return {**os.environ, **notifier_variables, GENERATION: str(generation + 1)}
