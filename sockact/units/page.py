"""Makes docs/unit-options.md from the code: `python -m sockact.units.page >docs/unit-options.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from sockact.units.writing import shipped

INTRODUCTION = """# Options of the units

<!-- Made by `python -m sockact.units.page >docs/unit-options.md` from the code; do not edit it. -->

Each option that `sockact units` writes for an app called `app`, with the reason for it if that is not
obvious. The options themselves are systemd's: systemd.socket(5), systemd.service(5), systemd.exec(5). A
drop-in of yours (`systemctl edit app.service`) wins over them; `sockact check app` then tells if something
does not fit.
"""
FILES = {
    "app.socket": "The socket unit",
    "app.service": "The service",
    "app-hardened.conf": "The smaller sandbox",
    "app-tls.conf": "TLS",
}
"""The files that have a section, with its heading."""

SHOWN = 72
"""Characters of a value that are shown: the file has the rest."""


class _Explained(NamedTuple):
    option: str
    why: str


def page() -> str:
    """Return the whole text."""
    texts = shipped()
    return INTRODUCTION + "".join(_part(name, heading, texts[name]) for name, heading in FILES.items())


def _part(name: str, heading: str, text: str) -> str:
    rows = [f"\n## {heading}\n", f"[units/{name}](../units/{name}):\n", "| option | why |", "|---|---|"]
    rows += [f"| `{_shortened(each.option)}` | {_cell(each.why)} |" for each in _explained(text)]
    return "\n".join(rows) + "\n"


def _explained(text: str) -> Iterator[_Explained]:
    """Yield the options of a unit, each with the comment directly above it."""
    why, option = [""], ""
    for line in text.splitlines():
        if option or (not line.startswith(("#", "[")) and "=" in line):
            option += line.strip().removesuffix("\\")
            if not line.endswith("\\"):
                yield _Explained(option, " ".join(why).strip())
                why, option = [], ""
        elif line.startswith("["):
            why = []
        else:
            why = [*why, line.lstrip("# ")] if line else []


def _shortened(option: str) -> str:
    shown = option if len(option) <= SHOWN else f"{option[:SHOWN].rstrip()} ..."
    return shown.replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(page())
