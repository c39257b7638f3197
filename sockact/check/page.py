"""Makes docs/check.md from the rules: `python -m sockact.check.page >docs/check.md`."""

from __future__ import annotations

import sys

from sockact.check.rule import RULES, Rule
from sockact.check.rules import SUBJECTS

INTRODUCTION = """\
# Check: mistakes in units

<!-- Made by `python -m sockact.check.page >docs/check.md` from the code; do not edit it. -->

    sockact check                            # all units in /etc/systemd/system
    sockact check shop                       # shop.service with its drop-ins, and its socket units
    sockact check ./shop.service deploy/     # files, and folders with units
    sockact check shop --fix                 # repairs what is certain, and shows the changes
    sockact check shop --json

It looks at services and sockets, of any server. It knows sockact, gunicorn, uvicorn, hypercorn, granian and
Puma by their command line, also behind `sh -c`, `env`, `bundle exec` or `uv run`;
units of other programs get the rules that hold for all. A pair is found by either of its units, and each
finding shows its line, in the unit or in a drop-in. [Examples](check-examples.md) show the output.

Exit statuses: 0, nothing or hints only; 1, there is an error or a warning; 64, a unit does not exist.

- A unit of this machine is checked for this machine: for its version of systemd, and with the programs,
  users and files that it names. A file elsewhere is checked for every systemd since 252, and nothing is
  looked for here; `--systemd 257` and `--here` change that.
- The app is read, and not imported: `sockact check` may be run by root. [check-app](deploy.md) runs it.
- `--fix` changes the line with the mistake, or adds one to the unit. The unit of a package, in /usr,
  stays as it is, and gets a drop-in in /etc/systemd/system. `--diff` shows the changes only. Then:
  `systemctl daemon-reload`.
- `--ignore RULE` leaves a rule out. Options and sections that begin with `X-` are ignored, as by systemd.
"""


def page() -> str:
    """Return the whole text."""
    sections = [_section(heading, module.__name__) for heading, module in SUBJECTS.items()]
    return "\n".join([INTRODUCTION, *sections])


def _section(heading: str, module: str) -> str:
    rows = [f"## {heading}", "", "| rule | | if it is left | source |", "|---|---|---|---|"]
    rows += [_row(rule) for rule in RULES.values() if rule.look.__module__ == module]
    return "\n".join([*rows, ""])


def _row(rule: Rule) -> str:
    return f"| `{rule.name}` | {rule.severity} | {rule.consequence} | {rule.source} |"


if __name__ == "__main__":
    sys.stdout.write(page())
