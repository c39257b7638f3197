"""`sockact check-app`: tries apps before a deploy, in the same trial as a reload.

The settings are those of `sockact run`, from flags and variables, so that a unit's own command line works.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.apps import loader
from sockact.cli.app_arguments import add_apps, find_apps, references, run_command
from sockact.cli.arguments import add_settings
from sockact.config import envfile, logs, pyproject
from sockact.config.settings import Settings
from sockact.errors import AppError, ReloadRefused, error_of_status
from sockact.process.command import Program, working_directory
from sockact.untrusted.text import visible
from sockact.worker import trial


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_apps(command, "*")
    add_settings(command)


def run(app: Sequence[str], **given: Any) -> int:
    """Import and start apps in a child without sockets, and tell whether they would serve."""
    given = {name: value for name, value in given.items() if value is not None}
    words = find_apps(app, given)
    print(visible(check(words, references(words), given)))
    return 0


def check(apps: Sequence[str], names: Sequence[str], given: Mapping[str, Any]) -> str:
    """Start the apps on trial, and return the result in words.

    Args:
        apps: the apps, as `sockact run` takes them.
        names: their `module:attribute`.
        given: settings, beside those in the environment.

    Raises:
        UsageError: a reference does not have that form.
        SettingsError: a setting, or a file that it names, is not valid.
        AppError: an app cannot be imported, is no app, or does not start.
    """
    for name in names:
        loader.parts(name)
    chosen = pyproject.resolve(given, os.environ)
    envfile.read(chosen.env_file)
    logs.configure(chosen.log_level, os.environ, chosen.log_format)
    program = Program(run_command(given, apps), working_directory(os.environ), dict(os.environ))
    try:
        return f"{' '.join(apps)}: {asyncio.run(_try(program, chosen))}"
    except ReloadRefused as error:
        raise error_of_status(error.found)(f"{' '.join(apps)}: {error}") from error


async def _try(program: Program, chosen: Settings) -> str:
    """Wait for the result; a SIGTERM ends the child too, as Ctrl-C does by itself."""
    task = asyncio.ensure_future(trial.run_trial(program, chosen))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise AppError("ended by a signal before there was a result") from None
