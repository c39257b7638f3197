"""`sockact run`: serves apps, or keeps workers that run a program."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from sockact.cli.arguments import EXAMPLES, add_apps, add_settings, find_apps, say_found, target_of
from sockact.errors import UsageError
from sockact.process import refused_places, without_ssl
from sockact.protocols.environment import SUPERVISED
from sockact.system import signals


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.usage = (
        "sockact run [OPTION...] [[NAME=]MODULE:ATTRIBUTE...]\n"
        "       sockact run [OPTION...] -- PROGRAM [ARGUMENT...]"
    )
    command.epilog = EXAMPLES
    add_apps(command, "*")
    add_settings(command)


def run(app: Sequence[str], program: Sequence[str], **given: Any) -> int:
    """Serve apps, each `module:attribute`, or keep workers that run a program."""
    refused_places.require_own_process()
    signals.remember()
    given = {name: value for name, value in given.items() if value is not None}
    if app and program:
        raise UsageError("expected either MODULE:ATTRIBUTE or -- PROGRAM ARGUMENT...")
    words = [] if program else find_apps(app, given)
    if words != list(app) and SUPERVISED not in os.environ:
        say_found(words, given, "sockact run")
    target = target_of(words) if words else None
    without_ssl.before_asyncio(program, given, os.environ)
    from sockact import roles

    roles.run(target, program, given)
    return 0
