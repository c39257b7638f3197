"""Settings of a project, from the table `[tool.sockact]` of its pyproject.toml.

    [tool.sockact]
    drain_timeout = "1min"
    workers = 4

The file is the one in `chdir`, or else in the working directory. Each process reads it at its start, so
that a reload's new workers have the settings of the new code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from sockact.config import settings
from sockact.config.settings import Settings
from sockact.errors import SettingsError
from sockact.untrusted import files

FILE = "pyproject.toml"

_MENTIONED = re.compile(rb"""\.[ \t]*["']?sockact|sockact["']?[ \t]*[.=](?!=)""")
"""The table in any spelling, as `[tool . "sockact"]`, `sockact = {` below `[tool]`; no mere dependency."""


def resolve(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Combine keywords or flags, the environment and the project's file; raises as `settings.resolve`."""
    return settings.resolve(given, environ, _said(given, environ))


def says(name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Tell whether a setting was given, by keyword, flag, variable or project, and is not the default."""
    return name in given or settings.variable(name) in environ or name in _said(given, environ)


def _said(given: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the project's settings, from the directory that `chdir` names."""
    directory = given.get("chdir") or environ.get(settings.variable("chdir"), "")
    path = os.fspath(directory) if isinstance(directory, str | os.PathLike) else None
    if not isinstance(path, str) or "\0" in path:
        return {}  # `chdir` is invalid, and refused later
    return table(os.path.join(path, FILE))


def table(path: str) -> Mapping[str, Any]:
    """Return the settings in a pyproject.toml; empty if there is no such file or table.

    Raises:
        SettingsError: the file cannot be read or parsed.
    """
    try:
        data = files.read(path)
    except OSError as error:
        if not os.path.lexists(path):
            return {}
        raise SettingsError(f"{path}: {error.strerror}") from None
    if not _MENTIONED.search(data):
        return {}  # most files have no such table; a supervisor saves the parser's memory
    import tomllib

    try:
        tool = tomllib.loads(data.decode()).get("tool", {})
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    found = tool.get("sockact", {}) if isinstance(tool, dict) else None
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: expected a table [tool.sockact]")
    return found
