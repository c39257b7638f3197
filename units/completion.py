#!/usr/bin/python3
"""Print the completion of `sockact` for a shell, made of its parsers by shtab.

    units/completion.py bash|zsh

Not by argcomplete, which starts Python and imports sockact at each TAB.
"""

import argparse
import sys

import shtab

from sockact.cli.main import COMMANDS, parser_of
from sockact.config import settings

UNITS = {"bash": "_sockact_units", "zsh": "_sockact_units"}
"""Functions of the preamble, which ask systemd."""

BY_METAVAR = {
    "PATH": shtab.FILE,
    "FILE": shtab.FILE,
    "UNIT|FILE": shtab.FILE,
    "FOLDER": shtab.DIRECTORY,
    "UNIT": UNITS,
}
PREAMBLE = {
    "bash": """
_sockact_units() {
  local ask="systemctl list-units --all --plain --no-legend --type=service"
  compgen -W "$($ask 2>/dev/null | cut -d ' ' -f 1)" -- "$1"
}
""",
    "zsh": """
_sockact_units() {
  local -a units
  local ask="systemctl list-units --all --plain --no-legend --type=service"
  units=(${(f)"$(${=ask} 2>/dev/null | cut -d ' ' -f 1)"})
  compadd -a units
}
""",
}


def annotate(action: argparse.Action) -> None:
    """Tell shtab how to complete the value of an option or an argument."""
    if isinstance(action.metavar, str) and action.metavar in BY_METAVAR:
        action.complete = BY_METAVAR[action.metavar]
    if action.dest in ("chdir", "venv"):
        action.complete = shtab.DIRECTORY
    if action.metavar == "PATH" and action.dest.endswith("_path"):  # of a URL
        del action.complete
    field = settings.FIELDS.get(action.dest)
    if field and action.nargs != 0:
        action.choices = getattr(field.metadata["parse"], "choices", action.choices)


def main(shell: str) -> None:
    whole, parsers = parser_of(COMMANDS)
    for parser in parsers.values():
        for action in parser._actions:  # noqa: SLF001 - argparse has no public name for them
            annotate(action)
    print(shtab.complete(whole, shell=shell, preamble=PREAMBLE))


if __name__ == "__main__":
    main(sys.argv[1])
