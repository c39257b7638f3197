"""`sockact dev`: serves an app while it is written, and reloads it when its files change.

The parent is that of `sockact activate`, which watches the files; it keeps a `sockact run`. So neither the
supervisor nor a worker imports what watches, and the sockets survive an app that does not start.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from sockact.activate.plan import ActivationPlan, RestartPolicy
from sockact.activate.watch import FileWatch
from sockact.apps import loader
from sockact.cli.activate import keep
from sockact.cli.app_arguments import add_apps, find_apps, references, run_command, say_found
from sockact.cli.arguments import add_settings
from sockact.config import pyproject
from sockact.config.settings import Settings
from sockact.process.terminal import url
from sockact.sockets.listen import bind
from sockact.system.signals import REMEMBERED

DEFAULTS = {"workers": "1", "probation": "0", "log_level": "debug"}
"""Settings that no flag has given; those of the project and the environment are for production."""

PATTERNS = (
    *("*.py", "*.html", "*.jinja", "*.jinja2", "*.j2", "*.css", "*.js"),
    *("*.toml", "*.yaml", "*.yml", "*.ini", "*.cfg", ".env"),
)
"""Files that an app is made of. Others, as databases and logs, may be written by the app itself."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_apps(command, "*")
    watch = "file or folder to watch, beside the one that the app is imported from; repeatable"
    command.add_argument("--watch", metavar="PATH", action="append", default=[], help=watch)
    include = "names of files in watched folders that count, beside " + " ".join(PATTERNS) + "; repeatable"
    command.add_argument("--include", metavar="PATTERN", action="append", default=[], help=include)
    add_settings(command)


def run(app: Sequence[str], watch: Sequence[str], include: Sequence[str], **given: Any) -> int:
    """Serve apps, and reload them when their files change; code that does not start changes nothing."""
    given = {**DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
    words = find_apps(app, given)
    if words != list(app):
        say_found(words, given, "sockact dev")
    for each in references(words):
        loader.parts(each)
    chosen = pyproject.resolve(given, os.environ)
    plan = ActivationPlan(
        run_command(given, words),
        # A cached module is taken for the present one if size and second of both sources are the same.
        {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        RestartPolicy.ON_CHANGE,
        FileWatch([chosen.chdir or ".", *_env_files(chosen), *watch], (*PATTERNS, *include)),
        reloads=True,
        talks=False,
        blocked=REMEMBERED,
    )
    listeners = bind(chosen.listen)
    urls = ", ".join(url(each, chosen) if each.is_internet else each.address for each in listeners)
    return keep(plan, listeners, "dev", f"serves {urls} until Ctrl-C")


def _env_files(chosen: Settings) -> list[str]:
    return [path for each in chosen.env_file if os.path.exists(path := each.removeprefix("-"))]
