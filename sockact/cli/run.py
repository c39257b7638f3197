"""`sockact run`: serves apps, or keeps workers that run a program."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from sockact.cli.app_arguments import add_apps, find_apps, say_found, target_of
from sockact.cli.arguments import add_settings
from sockact.errors import UsageError
from sockact.process import refused_places, without_ssl
from sockact.protocols.environment import SUPERVISED, TRIAL
from sockact.system import signals

EXAMPLES = """examples:
  sockact run                         an app in this directory, on 127.0.0.1:8000
  sockact run -l :8080 -w 4 main:app  four workers, for everybody
  sockact run -l unix:/run/shop.sock shop.wsgi:application
  sockact run -w 2 -- PROGRAM         one that takes its sockets from systemd

Each option is also a variable, SOCKACT_DRAIN_TIMEOUT=1min, and a line in
pyproject.toml. All settings: docs/settings.md in sockact's source."""


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
    if words != list(app) and not {SUPERVISED, TRIAL} & os.environ.keys():
        say_found(words, given, "sockact run")
    target = target_of(words) if words else None
    without_ssl.before_asyncio(program, given, os.environ)
    from sockact import roles

    roles.run(target, program, given)
    return 0
