"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from sockact.apps import reference
from sockact.config import settings
from sockact.errors import UsageError, similar
from sockact.untrusted.number import decimal
from sockact.untrusted.text import visible

STATUS_TIMEOUT = "30s"
RELOAD_TIMEOUT = "1h"
"""No service tells how long its reload may take, which may have to drain; systemd has its own limit."""


COMMON = ("listen", "workers", "threads", "chdir", "env_file", "factory", "drain_timeout", "access_log")
"""The settings that most people need; `--help` has them first."""

SHORT = {"listen": "-l", "workers": "-w"}
"""Settings with a short option."""

EXAMPLES = """examples:
  sockact run                         an app in this directory, on 127.0.0.1:8000
  sockact run -l :8080 -w 4 main:app  four workers, for everybody
  sockact run -l unix:/run/shop.sock shop.wsgi:application
  sockact run -w 2 -- PROGRAM         one that takes its sockets from systemd

Each option is also a variable, SOCKACT_DRAIN_TIMEOUT=1min, and a line in
pyproject.toml. All settings: docs/settings.md in sockact's source."""


_NO_VALUE = re.compile(r"-|[\w./]+:[A-Za-z_]")
"""The beginning of a word that is another option, or an app."""


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Given a width, argparse does not import shutil to find it out, and with it all that unpacks archives.
    # A parser makes formatters for its own use, so that every process would keep these libraries.
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=_width())


def _width() -> int:
    if width := decimal(os.environ.get("COLUMNS")):
        return width
    try:
        return min(os.get_terminal_size().columns or 100, 100)
    except (OSError, ValueError, AttributeError):  # stdout is no terminal, or closed
        return 100


class CommandParser(argparse.ArgumentParser):
    """A parser that exits with the status for wrong usage, and explains options that it does not have."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit."""
        self.exit(UsageError.exit_status, f"{self.prog}: {message}\n`{self.prog} --help` tells more\n")

    def require_known(self, words: Sequence[str]) -> None:
        """Refuse options that this command does not have, with those that might be meant.

        argparse takes the value of an unknown option for something else.
        """
        known = [name for name in self._option_string_actions if name.startswith("-")]
        unknown = {word.partition("=")[0]: _value(words, place) for place, word in self._unknown(words)}
        if not unknown:
            return
        from sockact.cli import foreign_options

        told: dict[str, list[str]] = {}
        for each in unknown:
            answer = foreign_options.explain(each, unknown, known) or similar(each, known)
            told.setdefault(answer, []).append(each)
        self.error("; ".join(f"there is no {', '.join(each)}{answer}" for answer, each in told.items()))

    def _unknown(self, words: Sequence[str]) -> Iterator[tuple[int, str]]:
        for place, word in enumerate(words):
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            number = decimal(word[1:]) is not None
            option = word.startswith("-") and len(word) > 1 and not number
            if option and name not in self._option_string_actions:
                yield place, word


def _value(words: Sequence[str], place: int) -> str:
    """Return the value that is written behind an option; empty if there is none."""
    _, equals, value = words[place].partition("=")
    following = words[place + 1] if place + 1 < len(words) else ""
    return value if equals else "" if _NO_VALUE.match(following) else following


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
    """Add all settings: the common ones first, then the others in their groups."""
    common = command.add_argument_group("Common options")
    groups = {group: command.add_argument_group(group) for group in settings.Group}
    for name in (*COMMON, *(name for name in settings.FIELDS if name not in COMMON)):
        group = common if name in COMMON else groups[settings.FIELDS[name].metadata["group"]]
        _add_setting(group, name)


def _add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    field = settings.FIELDS[name]
    meaning = f"{field.metadata['help']} [{_shown(field.default)}]"
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


def run_command(given: Mapping[str, Any], apps: Sequence[str]) -> tuple[str, ...]:
    """Return the command `sockact run` of this interpreter, with the same settings and apps."""
    words = [word for name, value in given.items() for word in settings.option(name, value)]
    # -P: the present directory is for the app's modules, once sockact's own are there.
    return (sys.executable, "-P", "-m", "sockact", "run", *words, *apps)


def find_apps(apps: Sequence[str], given: dict[str, Any]) -> list[str]:
    """Return apps as `module:attribute`, with the `NAME=` before it if there was one.

    Args:
        apps: as they were written; none for the one in the directory.
        given: settings; `factory` is added to them if an app that was found is one.

    Raises:
        UsageError: no app is meant by a word.
    """
    directory = given.get("chdir") or os.environ.get(settings.variable("chdir")) or "."
    if not apps:
        return [_chosen(reference.find(directory), given)]
    words = []
    for word in apps:
        name, equals, app = word.rpartition("=")
        words.append(f"{name}{equals}{_chosen(reference.complete(app, directory), given)}")
    return words


def say_found(apps: Sequence[str], given: Mapping[str, Any], command: str) -> None:
    """Tell which apps were found, by the whole command."""
    factory = " --factory" if given.get("factory") else ""
    text = " ".join(apps)
    print(visible(f"sockact: found {text}: {command}{factory} {text}"), file=sys.stderr)


def _chosen(found: reference.Reference, given: dict[str, Any]) -> str:
    if found.factory:
        given.setdefault("factory", True)
    return found.text


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


def references(apps: Sequence[str]) -> list[str]:
    """Return the `module:attribute` of each app."""
    target = target_of(apps)
    return list(target.values()) if isinstance(target, dict) else list(apps)
