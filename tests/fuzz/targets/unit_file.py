"""Unit files: read as far as they can be, checked by all rules, shown, repaired, and carried over.

A line that begins with `--- ` begins another file, with that name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sockact.check import examine, repair, report
from sockact.check.scope import Scope
from sockact.errors import SockactError
from sockact.systemd import unit_syntax
from sockact.units import carrying
from sockact.untrusted.text import visible, visible_lines
from tests.fuzz import files
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"[Unit]\n",
        b"[Service]\n",
        b"[Socket]\n",
        b"[Install]\n",
        b"--- app.socket\n",
        b"--- app@.service\n",
    ),
    *(
        b"Type=notify\n",
        b"ExecStart=",
        b"ExecReload=",
        b"ListenStream=",
        b"Accept=yes\n",
        b"Environment=",
        b"User=",
    ),
    *(
        b"Restart=always\n",
        b"RestartSec=",
        b"WatchdogSec=",
        b"TimeoutStopSec=",
        b"DynamicUser=yes\n",
        b"Sockets=",
    ),
    *(
        b"/usr/bin/sockact run app:app",
        b"gunicorn shop:app --bind unix:/run/x",
        b"sh -c 'exec ",
        b"sudo ",
        b"uvicorn",
    ),
    *(
        b"python3 -m ",
        b"--workers=",
        b"%i",
        b"%n",
        b"%",
        b"$A",
        b"${A:-b}",
        b"'",
        b'"',
        b"\\",
        b"\\\n",
        b"\n",
        b"=",
        b";",
    ),
    *(
        b"#",
        b"infinity",
        b"5min 20s",
        b"9" * 400,
        b"\0",
        b"\xff",
        b"\xc2\xb5s",
        b"-",
        b"+",
        b"@",
        b"!",
        b":",
        b"{",
        b"}",
    ),
)

LARGE = 256 * 1024

NAME = re.compile(rb"^--- ([a-z0-9@]{1,20}\.(?:service|socket|timer|path))\n", re.MULTILINE)


def target(data: bytes) -> None:
    """Check units."""
    first, *others = NAME.split(data)
    units = {"app.service": first}
    for name, text in zip(others[::2], others[1::2], strict=True):
        units[name.decode()] = text
    with files.folder() as folder:
        for name, content in units.items():
            Path(folder, name).write_bytes(content)
        _check(folder, sorted(units))
        for name in units:
            if name.endswith(".service"):
                _carry(f"{folder}/{name}")
    _parse(first)


def _check(folder: str, names: list[str]) -> None:
    scope = Scope([folder], version=252)
    found = examine.findings([(scope, scope.unit(name)) for name in names])
    shown = report.text(found, [scope.unit(name) for name in names])
    if not all(line.isprintable() for line in shown.split("\n")):
        raise Broken(f"shown on a terminal: {shown!r}")
    json.loads(report.as_json(found))
    try:
        changed = repair.changes(found)
    except SockactError:
        return
    for file in changed:
        visible_lines(file.difference())


def _carry(path: str) -> None:
    try:
        _, found = carrying.read(path, "/")
    except SockactError as error:
        str(error)
        return
    for line in found.report():
        visible(line)


def _parse(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    lines = text.count("\n") + 1
    every = list(unit_syntax.parse(text))
    for each in every:
        if not 1 <= each.line <= each.end <= lines or "\n" in each.value:
            raise Broken(f"{each} in {lines} lines")
        unit_syntax.words(each.value)
        unit_syntax.seconds(each.value)
    if len(unit_syntax.in_force(every)) > len(every):
        raise Broken("more in force than written")
