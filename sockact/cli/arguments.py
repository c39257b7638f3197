"""The arguments of the command `sockact`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sockact.config import settings
from sockact.errors import UsageError
from sockact.untrusted.number import decimal

STATUS_TIMEOUT = "30s"
RELOAD_TIMEOUT = "1h"
"""No service tells how long its reload may take, which may have to drain; systemd has its own limit."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The functions behind the subcommands; their docstrings are the help."""

    run: Callable[..., int]
    check_app: Callable[..., int]
    reload: Callable[..., int]
    status: Callable[..., int]


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


def parser(commands: Commands) -> CommandParser:
    """Return the parser of all subcommands."""
    import sockact

    whole = CommandParser(prog="sockact", description="Serve Python apps on sockets that systemd passes.")
    whole.add_argument("--version", action="version", version=f"sockact {sockact.__version__}")
    adding = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)

    def add(name: str, function: Callable[..., int], summary: str) -> CommandParser:
        command = adding.add_parser(name, help=summary, description=function.__doc__)
        command.set_defaults(command=function)
        return command

    run = add("run", commands.run, "serve an app")
    _add_apps(run, "*")
    _add_settings(run)
    check = add("check-app", commands.check_app, "try an app")
    _add_apps(check, "+")
    _add_settings(check)
    _add_service(add("reload", commands.reload, "reload a service"))
    _add_status(add("status", commands.status, "show a service"))
    return whole


def _add_status(command: argparse.ArgumentParser) -> None:
    command.set_defaults(form="text")
    _add_service(command)
    form = command.add_mutually_exclusive_group()
    programs = "for programs; see `sockact.protocols.overview`"
    form.add_argument("--json", action="store_const", dest="form", const="json", help=programs)
    prometheus = "for Prometheus; see `sockact.cli.prometheus`"
    form.add_argument(
        "--prometheus", action="store_const", dest="form", const="prometheus", help=prometheus
    )


def _add_service(command: argparse.ArgumentParser) -> None:
    command.add_argument("unit", metavar="UNIT", nargs="?", help="a service of systemd: app.service")
    command.add_argument("--user", action="store_true", help="ask the user's manager, not the system's")
    command.add_argument("--control", metavar="PATH", help="the path of its control socket")
    limit = f"how long to wait for the answer, or none [{STATUS_TIMEOUT}; a reload {RELOAD_TIMEOUT}]"
    command.add_argument("--timeout", metavar="TIME", help=limit)


def _add_apps(command: argparse.ArgumentParser, number: str) -> None:
    help_text = "an app; or several, each for the sockets called NAME"
    command.add_argument("app", metavar="[NAME=]MODULE:ATTRIBUTE", nargs=number, help=help_text)


def _add_settings(command: argparse.ArgumentParser) -> None:
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
