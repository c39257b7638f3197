"""`sockact check-app`: would these apps serve? Asked before a deploy, of the canary that a reload asks.

The settings are those of `sockact run`, from flags and variables, so that a unit's own words do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.apps import loader
from sockact.config import envfile, logs, pyproject, settings
from sockact.config.settings import Settings
from sockact.errors import AppError, ReloadRefused, error_of_status
from sockact.process.command import Program, working_directory
from sockact.worker import canary


def check(apps: Sequence[str], references: Sequence[str], given: Mapping[str, Any]) -> str:
    """Start the apps as a canary, and return what it says of itself.

    Args:
        apps: as `sockact run` takes them.
        references: their `module:attribute`.
        given: settings, beside those in the environment.

    Raises:
        UsageError: a reference is not of that form.
        SettingsError: a setting, or a file that it names, makes no sense.
        AppError: an app cannot be imported, is none, or does not start.
    """
    for reference in references:
        loader.parts(reference)
    chosen = pyproject.resolve(given, os.environ)
    envfile.read(chosen.env_file)
    logs.configure(chosen.log_level, os.environ)
    words = [word for name, value in given.items() for word in settings.option(name, value)]
    # -P: the present directory is for the app's modules, once sockact's own are there.
    argv = (sys.executable, "-P", "-m", "sockact", "run", *words, *apps)
    program = Program(argv, working_directory(os.environ), dict(os.environ))
    try:
        return f"{' '.join(apps)}: {asyncio.run(_rehearse(program, chosen))}"
    except ReloadRefused as error:
        raise error_of_status(error.found)(f"{' '.join(apps)}: {error}") from error


async def _rehearse(program: Program, chosen: Settings) -> str:
    """Wait for the verdict; a SIGTERM ends the child too, as Ctrl-C does by itself."""
    task = asyncio.ensure_future(canary.rehearse(program, chosen))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise AppError("ended by a signal before there was a verdict") from None
