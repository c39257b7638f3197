"""Keeps OpenSSL out of a supervisor's memory (about 3 MB), which it would take all the time."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.config import pyproject
from sockact.errors import SettingsError
from sockact.protocols.environment import SUPERVISED, TRIAL


def before_asyncio(program: Sequence[str], given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Keep OpenSSL out of this process, if it is going to supervise: 3 MB, and 5 ms of its start.

    asyncio imports ssl by itself, and works without where Python was built without it; None in sys.modules
    makes every import of it fail. Too early for `Process.serves_itself`, whose module imports asyncio.

    Args:
        program: the program of the workers, if it is not this command.
        given: settings, beside those in the environment.
        environ: the process environment.
    """
    if program or _supervises(given, environ):
        sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # no module


def undo() -> None:
    """Allow OpenSSL after all, in a process that has nothing to supervise."""
    if sys.modules.get("ssl", sys) is None:
        del sys.modules["ssl"]


def _supervises(given: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    if SUPERVISED in environ or TRIAL in environ:
        return False
    try:
        return pyproject.resolve(given, environ).workers > 0
    except SettingsError:
        return False  # it will fail, once it can say so everywhere
