#!/usr/bin/python3
"""Write the manual pages into a folder: units/manpages.py FOLDER.

sockact(1) and a page for each command are made by help2man of what `--help` prints, and sockact.units(7) is
made by lowdown of docs/units.md. SOURCE_DATE_EPOCH is their date.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import sockact
from sockact.cli.command_parser import CommandParser
from sockact.cli.main import COMMANDS, parser_of

PAGE = Path(__file__).resolve().parents[1] / "docs/units.md"
SUMMARY = "systemd socket activation for Python services"
LONG = 400
"""Characters of a usage that lists all options, beyond which it says [OPTION...]."""


def help_of(parser: CommandParser) -> str:
    """Return the help, with the headings that manual pages have."""
    usage, text = parser.format_usage(), parser.format_help()
    text = text.removeprefix(usage)
    if len(usage) > LONG:
        usage = re.sub(r" \[-[^\]]*\]", "", usage).replace(parser.prog, f"{parser.prog} [OPTION...]", 1)
    text = usage + text
    for argparse, page in (("positional arguments", "Arguments"), ("options", "Options")):
        text = text.replace(f"\n{argparse}:\n", f"\n{page}:\n")
    # A second form of a command.
    return re.sub("^usage:", "Usage:", text).replace("\n       sockact", "\n  or:  sockact", 1)


def write(folder: Path, name: str, summary: str, text: str, others: Mapping[str, int]) -> None:
    """Write a page of section 1."""
    also = ",\n".join(f".BR {other} ({section})" for other, section in others.items() if other != name)
    with tempfile.TemporaryDirectory() as scratch:
        # help2man runs a program for its help, and the page is called as that.
        program, include = Path(scratch, name), Path(scratch, "include")
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        program.chmod(0o755)
        include.write_text(f"[see also]\n{also}\n")
        command = [
            *("help2man", "--no-info", "--section=1", f"--name={summary}", f"--include={include}"),
            *(f"--version-string={sockact.__version__}", f"--source=sockact {sockact.__version__}"),
            *("--manual=User Commands", f"--output={folder / name}.1", program),
        ]
        subprocess.run(command, check=True)


def write_units(folder: Path, date: str) -> None:
    """Write sockact.units(7), whose text links to no other page of docs/."""
    title, text = PAGE.read_text().split("\n", 1)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    text = f"# NAME\n\nsockact.units - {title.removeprefix('# ').lower()}\n\n# DESCRIPTION\n{text}"
    known = {
        "title": "sockact.units",
        "section": "7",
        "date": date,
        "source": f"sockact {sockact.__version__}",
    }
    command = ["lowdown", "-s", "-Tman", *(f"-M{name}={value}" for name, value in known.items())]
    made = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    # Cells of tables are too narrow for full lines, and long names in them have no hyphens.
    page = re.sub(r"^(\.TH .*)$", r"\1\n.ad l\n.nh", made.stdout, count=1, flags=re.MULTILINE)
    # The first line tells man that there are tables in it: man(1).
    (folder / "sockact.units.7").write_text(f"'\\\" t\n{page}")


def main(folder: Path) -> None:
    # One line for each text: help2man joins lines, but would take the rest of a long option for its text.
    os.environ["COLUMNS"] = "10000"
    epoch = int(os.environ.setdefault("SOURCE_DATE_EPOCH", "1580601600"))
    whole, parsers = parser_of(COMMANDS)
    pages = {"sockact": 1, **{f"sockact-{name}": 1 for name in COMMANDS}, "sockact.units": 7}
    write(folder, "sockact", SUMMARY, help_of(whole), pages)
    for name, command in COMMANDS.items():
        write(folder, f"sockact-{name}", command.summary, help_of(parsers[name]), pages)
    write_units(folder, datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
