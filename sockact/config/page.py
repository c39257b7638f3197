"""Makes docs/settings.md from the settings: `python -m sockact.config.page >docs/settings.md`."""

from __future__ import annotations

import sys

from sockact.config.settings import FIELDS, Group

INTRODUCTION = """# Settings

<!-- Made by `python -m sockact.config.page >docs/settings.md` from the code; do not edit it. -->

Each setting is a keyword of `sockact.serve` (`drain_timeout=30`), a flag of `sockact run`
(`--drain-timeout 30s`) and an environment variable (`SOCKACT_DRAIN_TIMEOUT=30s`). A keyword or flag has
precedence over the variable. A setting that none of them gives may be in the table `[tool.sockact]` of the
pyproject.toml in `chdir`, or else in the working directory.

- TIME is in seconds, or written like `250ms` or `1min 30s`; where `none` is allowed, it means no
  limit.
- SIZE is in bytes, or written like `300M`; K, M and G are powers of 1024.
- A flag without a value is on as `--factory` and off as `--no-factory`; as a variable it is `yes` or `no`.
- A repeatable setting takes several flags, a list as a keyword, or several words in a variable.
"""


def page() -> str:
    """Return the whole text."""
    return "\n".join([INTRODUCTION, *map(_section, Group)])


def _section(group: Group) -> str:
    rows = [f"## {group}", "", "| setting | value | default | meaning |", "|---|---|---|---|"]
    for name, field in FIELDS.items():
        if field.metadata["group"] is group:
            value, meaning = field.metadata["metavar"], field.metadata["help"]
            rows.append(f"| `{name}` | {value} | {_shown(field.default)} | {meaning} |")
    return "\n".join([*rows, ""])


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return " ".join(f"`{item}`" for item in default)
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g} s" if isinstance(default, float) else f"`{default}`" if default != "" else ""


if __name__ == "__main__":
    sys.stdout.write(page())
