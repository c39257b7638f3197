"""The apps of a command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.apps import reference
from sockact.config import settings
from sockact.errors import UsageError
from sockact.untrusted.text import visible


def add_apps(command: argparse.ArgumentParser, number: str) -> None:
    """Add the apps; `number` as in argparse."""
    help_text = "an app; or several, each for the sockets called NAME"
    command.add_argument("app", metavar="[NAME=]MODULE:ATTRIBUTE", nargs=number, help=help_text)


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
