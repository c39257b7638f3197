"""The snippets of a how-to page, in the order in which a reader uses them.

    ```sh                       commands, run by root from top to bottom
    ```python title="/PATH"     the content of a file; in any language
    ```text                     output of the commands directly above; `...` is anything

A command that must fail has the comment `# fails` at the end of its line. A snippet below a line that
begins with `*Not run` is left out. Any other snippet is an error, so that none is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

FENCE = re.compile(
    r"^(?P<skipped>\*Not run[^\n]*\n\n)?"
    r'```(?P<language>\w*)(?: title="(?P<path>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
FAILS = re.compile(r"^(?P<command>.*?\S) +# fails\b.*$", re.MULTILINE)


class Commands(NamedTuple):
    """Lines of shell, with the lines that they must print."""

    script: str
    expected: tuple[str, ...] = ()


class Content(NamedTuple):
    """A file."""

    path: str
    text: str


def steps(page: str) -> list[Commands | Content]:
    """Return the snippets of a page.

    Raises:
        ValueError: one is of no known kind.
    """
    found: list[Commands | Content] = []
    for fence in FENCE.finditer(page):
        language, path, text = fence["language"], fence["path"], fence["text"]
        if fence["skipped"]:
            continue
        if path:
            found.append(Content(path, text))
        elif language == "sh":
            found.append(Commands(text))
        elif language == "text" and found and isinstance(found[-1], Commands):
            found[-1] = found[-1]._replace(expected=tuple(text.splitlines()))
        else:
            raise ValueError(f"neither commands nor a file nor output: {fence.group()[:80]}")
    return found


def script(commands: Commands) -> str:
    """Return commands for `sh -eu`, in which those that must fail do so."""
    refused = 'if {}; then echo "this did not fail" >&2; exit 99; fi'
    return FAILS.sub(lambda line: refused.format(line["command"]), commands.script)


def missing(expected: tuple[str, ...], output: str) -> list[str]:
    """Return the expected lines that the output does not have in this order."""
    lines: Iterator[str] = iter(output.splitlines())
    return [
        line
        for line in expected
        if line != "..." and not any(_pattern(line).search(each) for each in lines)
    ]


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.strip().split("..."))))
