"""The variables by which a process informs the one that follows it, and unit files that have changed since.

An input has a line for each variable; the rest are the settings of a caller, as NAME=value.
"""

from __future__ import annotations

import os

from sockact.process.identity import ProcessIdentity
from sockact.process.unapplied import MAX_SETTINGS_LENGTH, StartSnapshot, settings_in
from sockact.protocols import environment
from sockact.untrusted.text import visible
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"app.service:ExecStart=1a",
        b"app.service",
        b":",
        b"=",
        b" ",
        b"\n",
        b"0",
        b"1",
        b"12,13",
        b",",
        b"9" * 30,
        b"-1",
    ),
    *(b"\xff", b"\xd9\xa3", b"SOCKACT_WORKERS=4", b"\x1b", b"\t", b"\x0b", b"\xc2\xa0"),
)

NAMES = (
    *(environment.ACTIVATED, environment.CHILDREN, environment.GENERATION, environment.OWN),
    *(
        environment.REMARK,
        environment.SUPERVISED,
        environment.TEMPLATE,
        environment.TRIAL,
        environment.UNIT,
        environment.WORKER,
    ),
)


def target(data: bytes) -> None:
    """Begin as the successor, and compare."""
    values = Values(data.replace(b"\0", b""))
    environ = {}
    for name in NAMES:
        line = os.fsdecode(values.line())
        if line != "-":
            environ[name] = line
    snapshot = StartSnapshot(environ)
    identity = ProcessIdentity.taken_from(environ)
    if left := set(environ) - {environment.UNIT}:
        raise Broken(f"{left} are left to the app's children")
    if not 0 <= identity.generation < 10**19 or any(not 0 <= pid < 10**9 for pid in identity.children):
        raise Broken(f"{identity}")
    pairs = (line.partition("=") for line in os.fsdecode(values.rest).split("\n"))
    told = {name: value for name, equals, value in pairs if equals}
    for each in (None, told, settings_in(told)):
        for text in snapshot.changed(each):
            visible(text)
    if sum(map(len, settings_in(told).values())) >= MAX_SETTINGS_LENGTH:
        raise Broken("more settings than a caller can send")
