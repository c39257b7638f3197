"""The parser of a command line, whose errors help."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from sockact.errors import UsageError, similar
from sockact.untrusted.number import decimal

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
