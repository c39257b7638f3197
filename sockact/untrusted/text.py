"""Makes text of others safe to show: on a terminal, in a log line, in a status.

The author of a path, a version or an error text could otherwise begin a log line of their own, or control
root's terminal: by a line feed, by ESC, or by the marks that turn the direction of writing
(https://trojansource.codes).
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return a text in one line, with characters that cannot be printed as in Python: `\n`, `\x1b`."""
    return text if text.isprintable() else "".join(map(_char, text))


def visible_lines(text: str) -> list[str]:
    """Return the lines of a text that has several, each visible; tabs stay."""
    return ["\t".join(map(visible, line.split("\t"))) for line in text.split("\n")]


def told(error: BaseException) -> str:
    """Return an error's type and text; the text comes from foreign code, which may fail as well."""
    try:
        text = str(error)
    except Exception as fault:  # noqa: BLE001 - not ours
        text = f"it has no text: {type(fault).__name__}"
    return f"{type(error).__name__}: {text}"


def _char(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
