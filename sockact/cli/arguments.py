"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from typing import Any

from sockact.config import settings, values
from sockact.errors import UsageError

STATUS_TIMEOUT = "30s"
RELOAD_TIMEOUT = "1h"
"""No service tells how long its reload may take, which may have to drain; systemd has its own limit."""

LONGEST = 3600.0
"""Seconds of the longest time that `seconds` takes."""

COMMON = ("listen", "workers", "threads", "chdir", "env_file", "factory", "drain_timeout", "access_log")
"""The settings that most people need; `--help` has them first."""

SHORT = {"listen": "-l", "workers": "-w"}
"""Settings with a short option."""


def add_service(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that asks a service."""
    command.add_argument("unit", metavar="UNIT", nargs="?", help="a service of systemd: app.service")
    add_asked(command)


def add_asked(command: argparse.ArgumentParser) -> None:
    """Add the arguments that tell how to ask a service."""
    command.add_argument("--user", action="store_true", help="ask the user's manager, not the system's")
    command.add_argument("--control", metavar="PATH", help="the path of its control socket")
    limit = f"how long to wait for the answer, or none [{STATUS_TIMEOUT}; a reload {RELOAD_TIMEOUT}]"
    command.add_argument("--timeout", metavar="TIME", help=limit)


def seconds(option: str, text: str) -> float:
    """Return a time that was given: nobody loads or pauses a service for ever by mistake.

    Raises:
        UsageError: it is no time, 0, or longer.
    """
    try:
        found = values.seconds(text)
    except ValueError as error:
        raise UsageError(f"{option}={text}: {error}") from None
    if not 0 < found <= LONGEST:
        raise UsageError(f"{option}={text}: expected more than 0, and at most {LONGEST:g} s")
    return found


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add all settings: the common ones first, then the others in their groups."""
    common = command.add_argument_group("Common options")
    groups = {group: command.add_argument_group(group) for group in settings.Group}
    for name in (*COMMON, *(name for name in settings.FIELDS if name not in COMMON)):
        group = common if name in COMMON else groups[settings.FIELDS[name].metadata["group"]]
        _add_setting(group, name)


def _add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    field = settings.FIELDS[name]
    meaning = f"{field.metadata['help']} [{_shown(field.default)}]".replace(
        "%", "%%"
    )  # argparse has its own
    options: dict[str, Any] = {"dest": name, "help": meaning}
    words = ["--" + name.replace("_", "-"), *([SHORT[name]] if name in SHORT else [])]
    if isinstance(field.default, bool):
        group.add_argument(*words, action=argparse.BooleanOptionalAction, default=None, **options)
    elif isinstance(field.default, tuple):
        group.add_argument(*words, action="append", metavar=field.metadata["metavar"], **options)
    else:
        group.add_argument(*words, metavar=field.metadata["metavar"], **options)


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(default)
    return f"{default:g} s" if isinstance(default, float) else str(default)
