"""`sockact run`: serves apps, or keeps workers that run a program."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from sockact.cli.arguments import add_apps, add_settings, target_of
from sockact.errors import UsageError
from sockact.process import refused_places, without_ssl
from sockact.system import signals


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_apps(command, "*")
    add_settings(command)


def run(app: Sequence[str], program: Sequence[str], **given: Any) -> int:
    """Serve apps, each `module:attribute`, or keep workers that run a program."""
    refused_places.require_own_process()
    signals.remember()
    given = {name: value for name, value in given.items() if value is not None}
    if bool(app) == bool(program):
        raise UsageError("expected either MODULE:ATTRIBUTE or -- PROGRAM ARGUMENT...")
    target = target_of(app) if app else None
    without_ssl.before_asyncio(program, given, os.environ)
    from sockact import roles

    roles.run(target, program, given)
    return 0
