"""Makes docs/commands.md from their parsers: `python -m sockact.cli.page >docs/commands.md`."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module

from sockact.cli.command_parser import CommandParser
from sockact.cli.main import COMMANDS, Command
from sockact.config.settings import FIELDS

INTRODUCTION = """# Commands

<!-- Made by `python -m sockact.cli.page >docs/commands.md` from the code; do not edit it. -->

`sockact COMMAND --help` shows the same. `python -m sockact` is the command `sockact` of that Python.
[Signals](signals.md) has the exit statuses.

| command | does |
|---|---|
"""


class PageParser(CommandParser):
    """A parser whose arguments can be listed."""

    def rows(self) -> Iterator[str]:
        """Yield a line of a table for each argument that is no setting."""
        for action in self._actions:
            if not (action.dest == "help" or (action.dest in FIELDS and self.has_settings())):
                yield f"| {_names(action)} | {_escaped(_meaning(action))} |"

    def has_settings(self) -> bool:
        """Return whether the command has the settings as options."""
        return all(any(action.dest == name for action in self._actions) for name in FIELDS)


def page() -> str:
    """Return the whole text."""
    rows = [f"| [sockact {name}](#sockact-{name}) | {each.summary} |\n" for name, each in COMMANDS.items()]
    return "\n".join([INTRODUCTION + "".join(rows), *map(_section, COMMANDS, COMMANDS.values())])


def _section(name: str, command: Command) -> str:
    module = import_module(f"sockact.cli.{name.replace('-', '_')}")
    parser = PageParser(prog=f"sockact {name}")
    module.add_arguments(parser)
    lines = [f"## sockact {name}", "", inspect.getdoc(module.run) or "", ""]
    if rows := list(parser.rows()):
        lines += ["| argument | meaning |", "|---|---|", *rows, ""]
    if parser.has_settings():
        lines += ["All [settings](settings.md) are options of it, too.", ""]
    if command.takes_program:
        lines += [f"`sockact {name} ... -- PROGRAM ARGUMENT...` takes a program.", ""]
    return "\n".join(lines)


def _names(action: argparse.Action) -> str:
    """Return the argument as one writes it, with the name of its value."""
    values = action.metavar or action.dest.upper()
    if action.choices:
        values = "|".join(map(str, action.choices))
    words = [values] if isinstance(values, str) else list(values)
    if not action.option_strings:
        return f"`{_escaped(words[0])}`"
    value = "" if action.nargs == 0 else " " + " ".join(words)
    return ", ".join(f"`{_escaped(name + value)}`" for name in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "").replace("%%", "%")
    return text + "; required" if action.required and action.option_strings else text


def _escaped(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("|", "\\|").replace("*.", "\\*.")


if __name__ == "__main__":
    sys.stdout.write(page())
