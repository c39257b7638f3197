"""Checks that a value from another process has the expected shape.

bool, str          a value of just this type
int, float         a number, not negative; no larger than a process can have counted, or a clock said
(shape,)           this shape, or null
[shape]            a list of this shape
{"key": shape}     an object with these keys, and perhaps others
"""

from __future__ import annotations

from typing import Any

_MOST = {int: 2**63, float: 1e11}
"""The first values too large: for 64 bits, and for seconds that a calendar knows (localtime(3))."""


def deviation(value: Any, shape: Any, where: str = "answer") -> str:
    """Return the first deviation of a value, or of a part of it, from its shape; empty if there is none."""
    if isinstance(shape, tuple):
        return "" if value is None else deviation(value, shape[0], where)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is no object"
        wrong = (
            deviation(value[key], each, f"{where}.{key}") if key in value else f"{where} has no {key!r}"
            for key, each in shape.items()
        )
        return next(filter(None, wrong), "")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        return next(filter(None, (deviation(each, shape[0], f"{where}[]") for each in value)), "")
    return "" if _fits(value, shape) else f"{where} is no {shape.__name__}"


def _fits(value: Any, kind: Any) -> bool:
    if kind in (bool, str):
        return type(value) is kind
    number = type(value) is int or (kind is float and type(value) is float)
    return number and 0 <= value < _MOST[kind]
