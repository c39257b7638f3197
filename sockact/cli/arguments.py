"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sockact.config import settings
from sockact.errors import UsageError
from sockact.untrusted.number import decimal

STATUS_TIMEOUT = "30s"
RELOAD_TIMEOUT = "1h"
"""No service tells how long its reload may take, which may have to drain; systemd has its own limit."""


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Given a width, argparse does not import shutil to find it out, and with it all that unpacks archives.
    # A parser makes formatters for its own use, so that every process would keep these libraries.
    return argparse.HelpFormatter(prog, width=decimal(os.environ.get("COLUMNS")) or 100)


class CommandParser(argparse.ArgumentParser):
    """A parser that exits with the status for wrong usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit."""
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_status, f"{self.prog}: error: {message}\n")


def split_program(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split off the program after `--`, whose words are not arguments of sockact."""
    if "--" not in words:
        return words, ()
    end = list(words).index("--")
    return words[:end], words[end + 1 :]


def add_service(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that asks a service."""
    command.add_argument("unit", metavar="UNIT", nargs="?", help="a service of systemd: app.service")
    command.add_argument("--user", action="store_true", help="ask the user's manager, not the system's")
    command.add_argument("--control", metavar="PATH", help="the path of its control socket")
    limit = f"how long to wait for the answer, or none [{STATUS_TIMEOUT}; a reload {RELOAD_TIMEOUT}]"
    command.add_argument("--timeout", metavar="TIME", help=limit)


def add_apps(command: argparse.ArgumentParser, number: str) -> None:
    """Add the apps; `number` as in argparse."""
    help_text = "an app; or several, each for the sockets called NAME"
    command.add_argument("app", metavar="[NAME=]MODULE:ATTRIBUTE", nargs=number, help=help_text)


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add all settings, in their groups."""
    groups = {group: command.add_argument_group(group) for group in settings.Group}
    for name, field in settings.FIELDS.items():
        group = groups[field.metadata["group"]]
        meaning = f"{field.metadata['help']} [{_shown(field.default)}]"
        options: dict[str, Any] = {"dest": name, "help": meaning}
        option = "--" + name.replace("_", "-")
        if isinstance(field.default, bool):
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, **options)
        elif isinstance(field.default, tuple):
            group.add_argument(option, action="append", metavar=field.metadata["metavar"], **options)
        else:
            group.add_argument(option, metavar=field.metadata["metavar"], **options)


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(default)
    return f"{default:g} s" if isinstance(default, float) else str(default)


def run_command(given: Mapping[str, Any], apps: Sequence[str]) -> tuple[str, ...]:
    """Return the command `sockact run` of this interpreter, with the same settings and apps."""
    words = [word for name, value in given.items() for word in settings.option(name, value)]
    # -P: the present directory is for the app's modules, once sockact's own are there.
    return (sys.executable, "-P", "-m", "sockact", "run", *words, *apps)


def target_of(apps: Sequence[str]) -> object:
    """Return the argument for `sockact.serve`: one app, or a mapping from names to apps."""
    if len(apps) == 1 and "=" not in apps[0]:
        return apps[0]
    target: dict[str, str] = {}
    for word in apps:
        name, equals, app = word.partition("=")
        if not (name and equals and app) or name in target:
            raise UsageError(f"{word!r}: expected NAME=MODULE:ATTRIBUTE, each once")
        target[name] = app
    return target
