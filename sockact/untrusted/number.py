"""Reads a decimal number that others have written: a variable, or a value in a datagram.

int() alone takes too much: blanks, signs, underscores, digits of any script, and texts of any length.
"""

from __future__ import annotations

DIGITS = 19
"""The digits of the largest number that always fits into 64 bits."""


def decimal(text: str | None, *, digits: int = DIGITS) -> int | None:
    """Return the number that a text of ASCII digits stands for.

    Args:
        text: the text; None if there is none.
        digits: how many digits it may have.

    Returns:
        None if it is anything else, or longer.
    """
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= digits):
        return None
    return int(text)
