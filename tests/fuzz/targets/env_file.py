"""Environment files: read, or refused with the line; what was read can be passed on, and written again."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sockact.config import envfile
from sockact.errors import SettingsError
from tests.fuzz import files
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"A=",
        b"B=1\n",
        b"'",
        b'"',
        b"\\",
        b"\\\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"#",
        b";",
        b" ",
        b"\t",
        b"$",
        b"`",
        b"=",
        b"\0",
    ),
    *(
        b"\xc2\xa0",
        b"\xe2\x80\xa8",
        b"\x0b",
        b"\x0c",
        b"\xff",
        b"SOCKACT_WORKERS=2",
        b"LISTEN_PID=1",
        b"export A=b",
    ),
)

LARGE = 256 * 1024


def target(data: bytes) -> None:
    """Read an environment file, from a file and as text."""
    with files.folder() as folder:
        path = Path(folder, "env")
        path.write_bytes(data)
        try:
            found = envfile.read([str(path)])
        except SettingsError as error:
            if not str(error).replace(str(path), "").isprintable():
                raise Broken(f"an error with more than a line: {str(error)!r}") from error
            return
    for name, value in found.items():
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
            raise Broken(f"{name!r}={value!r} is no variable")
        os.fsencode(f"{name}={value}")
    written = "".join(f'{name}="{_escaped(value)}"\n' for name, value in found.items())
    if (again := envfile.parse(written, "again")) != found:
        raise Broken(f"{found} written again is {again}")


def _escaped(value: str) -> str:
    return re.sub(r"([\\\"`$])", r"\\\1", value)
