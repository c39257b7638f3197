"""Converts texts and Python values to values of settings.

Each function works on the dataclass field of a setting; see `settings`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

from sockact.config.values import seconds_or_none
from sockact.errors import SettingsError


def shown(value: object) -> str:
    """Return a value as text for an error; a file may have very long or deeply nested ones."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a program may pass any object
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]}..."


def written(value: object) -> str:
    """Return a value as text that `parsed` reads."""
    if value is None:
        return "none"
    return f"{value:f}" if isinstance(value, float) else str(value)


def value_of(name: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    """Return the value of a setting from a keyword or a flag, called `name` in errors."""
    value = _as_text(value, field)
    if isinstance(value, str):
        return parsed(name, value, field)
    if not _fits(value, field):
        raise SettingsError(f"{name}={shown(value)}: expected {_expected(field)}")
    if isinstance(field.default, tuple):
        return tuple(value)
    spans = isinstance(field.default, float) or field.metadata["parse"] is seconds_or_none
    return float(value) if spans and value is not None else value


def _as_text(value: Any, field: dataclasses.Field[Any]) -> Any:
    """Convert `pathlib` paths to text, for a setting that is a path."""
    if field.metadata["metavar"] not in ("PATH", "FILE"):
        return value
    if isinstance(field.default, tuple):
        several = [value] if isinstance(value, os.PathLike) else value
        if isinstance(several, list | tuple):
            return [os.fspath(each) if isinstance(each, os.PathLike) else each for each in several]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _fits(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Tell whether a value that is no text is valid for the setting."""
    if isinstance(field.default, tuple):
        texts = isinstance(value, list | tuple) and all(
            isinstance(each, str) and "\0" not in each for each in value
        )
        return texts and (bool(value) or not field.default)
    if value is None:
        return field.metadata["parse"] is seconds_or_none
    if isinstance(field.default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(field.default, bool)
    if isinstance(field.default, int):
        return isinstance(value, int) and value >= 0
    if isinstance(field.default, float) or field.metadata["parse"] is seconds_or_none:
        return isinstance(value, int | float) and 0 <= value <= sys.float_info.max
    return False


def _expected(field: dataclasses.Field[Any]) -> str:
    """Describe the values that the setting accepts."""
    if field.metadata["parse"] is seconds_or_none:
        return "seconds, not negative, or None"
    if isinstance(field.default, tuple):
        return "a text, or several in a list"
    words = {bool: "True or False", int: "a whole number, not negative", float: "seconds, not negative"}
    return words.get(type(field.default), "a text")


def parsed(source: str, text: str, field: dataclasses.Field[Any]) -> Any:
    """Return the value of a setting from text that came from `source`."""
    if "\0" in text:
        raise SettingsError(f"{source}={shown(text)}: expected no NUL")  # no path or variable can have one
    try:
        return field.metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(f"{source}={shown(text)}: {error}") from None
