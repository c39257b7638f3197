"""A project's pyproject.toml: its table is that of a TOML parser, its settings are right or refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

from sockact.config import pyproject
from sockact.config.settings import Settings
from sockact.errors import SettingsError
from tests.fuzz import files
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"[tool.sockact]\n",
        b"[tool]\n",
        b"[[tool]]\n",
        b"sockact = {}\n",
        b"[tool.'sockact']\n",
        b"sockact.workers = 2\n",
    ),
    *(
        b"workers = ",
        b"drain_timeout = ",
        b"listen = ",
        b"app = ",
        b"kind = ",
        b"trusted_proxies = ",
        b"env_file = ",
    ),
    *(
        b"1",
        b"-1",
        b"1e400",
        b"nan",
        b"true",
        b'"30s"',
        b"''",
        b"[]",
        b"{}",
        b"[[",
        b"1979-05-27",
        b"0x",
        b'"""',
        b"\\u0000",
    ),
    *(b"\n", b"\r", b"#", b"=", b".", b"\0", b"\xff", b"9" * 30),
)


def target(data: bytes) -> None:
    """Read a pyproject.toml, and resolve the settings in it."""
    with files.folder() as folder:
        path = Path(folder, pyproject.FILE)
        path.write_bytes(data)
        try:
            found = pyproject.table(str(path))
        except SettingsError as error:
            _check_error(error)
            return
        if (expected := _table(data)) is not None and repr(found) != repr(expected):  # NaN is not itself
            raise Broken(f"found {found}, and there is {expected}")
        try:
            chosen = pyproject.resolve({"chdir": folder}, {})
        except SettingsError as error:
            _check_error(error)
            return
    if not isinstance(chosen, Settings):
        raise Broken(f"{chosen!r} are no settings")
    hash(repr(chosen))


def _check_error(error: SettingsError) -> None:
    if not str(error).isprintable():
        raise Broken(f"an error with more than a line: {str(error)!r}")


def _table(data: bytes) -> object:
    """Return the table of a file; None if it has none, or is no TOML, or spells it with escapes."""
    if b"sockact" not in data:
        return None
    try:
        tool = tomllib.loads(data.decode()).get("tool")
    except (ValueError, RecursionError):
        return None
    return tool.get("sockact") if isinstance(tool, dict) else None
