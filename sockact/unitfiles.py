"""What the files of a unit of systemd say, to a process that can ask nobody.

An unprivileged service cannot rely on the bus: it need not run, and hangs up on users that it cannot name,
which those of `DynamicUser=yes` often are. The files anybody may read. Source: systemd.unit(5), "Unit File
Load Path".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

SYSTEM = (
    "/etc/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def folders(user: bool, environ: Mapping[str, str]) -> Sequence[str]:
    """Return where a manager finds units, the system's or a user's; what is in the first ones counts."""
    if not user:
        return SYSTEM
    home = environ.get("HOME", "/nonexistent")
    run = environ.get("XDG_RUNTIME_DIR", "/nonexistent")
    return (
        os.path.join(environ.get("XDG_CONFIG_HOME", f"{home}/.config"), "systemd/user"),
        "/etc/systemd/user",
        f"{run}/systemd/transient",
        f"{run}/systemd/user",
        "/run/systemd/user",
        os.path.join(environ.get("XDG_DATA_HOME", f"{home}/.local/share"), "systemd/user"),
        "/usr/local/lib/systemd/user",
        "/usr/lib/systemd/user",
        "/lib/systemd/user",
    )


def option(paths: Sequence[str], name: str) -> str:
    """Return the last value that a unit's file and its drop-ins, `paths`, give an option; "" if none does.

    It need not be what the manager goes by: it reads the files at a `daemon-reload`.
    """
    value = ""
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:  # another one may have it; who wonders finds out by `systemctl cat`
            continue
        for line in text.splitlines():
            key, equals, given = line.partition("=")
            if equals and key.strip() == name:
                value = given.strip()
    return value


def files(unit: str, where: Sequence[str]) -> Iterator[str]:
    """Give the paths of a unit's own file and of its drop-ins: the last one counts.

    Nothing without a file of its own: then it is somewhere where we cannot look.
    """
    own = [os.path.join(folder, name) for name in _own_names(unit) for folder in where]
    existing = [path for path in own if os.path.exists(path)]
    if not existing:
        return
    yield existing[0]
    found: dict[str, str] = {}
    for name in _names(unit):
        for folder in where:
            drop_ins = os.path.join(folder, f"{name}.d")
            for each in _listed(drop_ins):
                if each.endswith(".conf"):
                    found.setdefault(each, os.path.join(drop_ins, each))
    yield from [found[each] for each in sorted(found)]


def _listed(folder: str) -> Sequence[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return ()


def _own_names(unit: str) -> Sequence[str]:
    """Return what a unit's own file may be called: app@1.service, app@.service."""
    stem, _, kind = unit.rpartition(".")
    template, at, _ = stem.partition("@")
    return [unit, f"{template}@.{kind}"] if at else [unit]


def _names(unit: str) -> Sequence[str]:
    """Return whose drop-ins are a unit's: its own, and those of app-a@.service, app-.service, service."""
    stem, _, kind = unit.rpartition(".")
    parts = stem.partition("@")[0].split("-")
    prefixes = ["-".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
    return [*_own_names(unit), *(f"{prefix}-.{kind}" for prefix in prefixes), kind]
