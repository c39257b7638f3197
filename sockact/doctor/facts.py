"""Collects the facts about this machine and a service, once; the looks then only compare them."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sockact.check import reachable
from sockact.check.command import CommandLine
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd import systemctl
from sockact.untrusted import files

OF_SERVICE = (
    *("LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NeedDaemonReload", "NRestarts"),
    *("MainPID", "ExecMainStatus"),
    *("NFileDescriptorStore", "FileDescriptorStoreMax", "MemoryCurrent", "MemoryMax", "TasksCurrent"),
    *("TasksMax", "LimitNOFILE", "FragmentPath", "DropInPaths"),
)
OF_SOCKET = (
    *("LoadState", "ActiveState", "Result", "UnitFileState", "NeedDaemonReload", "Backlog"),
    *("FragmentPath", "DropInPaths"),
)
PACKAGES = ("systemd_python", "sdnotify", "httptools", "uvloop", "websockets")
"""The libraries of sockact, as their folders of metadata are named."""
SYSCTLS = ("net/core/somaxconn", "net/ipv4/tcp_abort_on_overflow", "fs/nr_open", "fs/file-nr")


@dataclass(frozen=True)
class PythonFacts:
    """The virtual environment of a service.

    Attributes:
        folder: where it is.
        interpreter: the program behind its links, `/usr/bin/python3.11`; '' if there is none.
        libraries: the version in the name of its folder of packages, `3.11`; '' if there is none.
        packages: the names and versions of what is installed, from the folders of metadata.
        foreign: compiled modules that are for another version, and no other file for this one.
    """

    folder: str
    interpreter: str = ""
    libraries: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    foreign: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """All facts of a visit.

    Attributes:
        version: the version of systemd; None if it does not tell.
        booted: whether systemd is PID 1.
        sysctls: kernel settings, by their paths below /proc/sys.
        available: the bytes of memory that are available; 0 if not known.
        free: the part of each filesystem that is free, from 0 to 1.
        unit: the service; None for a visit of the machine alone.
        service: its properties.
        sockets: the properties of its socket units, by name.
        python: its virtual environment; None if that is not known.
        overview: its answer on the control socket; None if there is none.
        silence: the reason why there is none.
        differences: the sockets that changed, in words.
        descriptors: the open descriptors and the limit of each of its processes, by PID.
        changed: the unit files that are newer than its main process.
        unread: the unit files that systemd has not read.
        bus: whether the system bus is there.
        naming: whether nss-systemd names dynamic users.
        kernel: the release of the kernel.
    """

    version: int | None = None
    booted: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    available: int = 0
    free: Mapping[str, float] = field(default_factory=dict)
    unit: CheckedUnit | None = None
    service: Mapping[str, str] = field(default_factory=dict)
    sockets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    python: PythonFacts | None = None
    overview: Mapping[str, Any] | None = None
    silence: str = ""
    differences: Sequence[str] = ()
    descriptors: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    changed: Sequence[str] = ()
    unread: Sequence[str] = ()
    bus: bool = True
    naming: bool = True
    kernel: str = ""

    @property
    def name(self) -> str:
        """The name of the service; '' if there is none."""
        return self.unit.name if self.unit else ""

    @property
    def runs(self) -> bool:
        """True if the service has a main process."""
        return self.service.get("MainPID", "0") not in ("", "0")

    @property
    def is_refused(self) -> bool:
        """True if the service does not answer this user."""
        return os.strerror(errno.EACCES) in self.silence

    @property
    def workers(self) -> Sequence[Mapping[str, Any]]:
        """The workers that the service tells of."""
        return [] if self.overview is None else list(self.overview["workers"])

    def number(self, name: str, unit: str = "") -> int | None:
        """Return a property as a number; None if it is none, or without limit."""
        text = (self.sockets[unit] if unit else self.service).get(name, "")
        # systemd shows what has no limit, or is not known, as infinity, [not set] or the largest number.
        return int(text) if text.isdecimal() and int(text) < (1 << 63) else None


def of_machine() -> Facts:
    """Return the facts of this machine alone."""
    return Facts(
        version=systemctl.version(),
        booted=os.path.isdir("/run/systemd/system"),
        sysctls={name: _text(f"/proc/sys/{name}").strip() for name in SYSCTLS},
        available=_available(_text("/proc/meminfo")),
        free={path: _free(path) for path in ("/run", "/var", "/tmp") if os.path.isdir(path)},
        bus=os.path.exists("/run/dbus/system_bus_socket"),
        naming="systemd" in _line(_text("/etc/nsswitch.conf"), "passwd:").split(),
        kernel=platform.release(),
    )


def of_service(unit: CheckedUnit, scope: Scope, asked: str) -> dict[str, Any]:
    """Return the facts of a service, by the names in `Facts`.

    Args:
        unit: the service.
        scope: the units beside it.
        asked: the manager to ask, as systemctl's option.
    """
    service = systemctl.properties(unit.name, OF_SERVICE, asked)
    pid = service.get("MainPID", "0")
    sockets = {each.name: each for each in scope.sockets_of(unit)}
    parts = [unit, *sockets.values()]
    shown = {name: systemctl.properties(name, OF_SOCKET, asked) for name in sockets}
    return {
        "unit": unit,
        "service": service,
        "sockets": shown,
        "unread": [path for part in parts for path in _unread(part, shown.get(part.name, service))],
        "python": python_of(unit.main) if unit.main else None,
        "changed": _newer([at.path for part in parts for at in part.written], pid),
    }


def python_of(command: CommandLine) -> PythonFacts | None:
    """Return the virtual environment of a command; None if it has none of its own."""
    program = command.inner[0] if command.inner else ""
    folder = Path(program).parent.parent
    if not program.startswith("/") or not (folder / "pyvenv.cfg").is_file():
        return None
    interpreter = os.path.realpath(folder / "bin/python3")
    if not os.path.isfile(interpreter):
        interpreter = ""
    folders = reachable.package_folders(command)
    matching = [each for each in folders if each.parent.name == os.path.basename(interpreter)]
    chosen = (matching or folders)[:1]
    return PythonFacts(
        str(folder),
        interpreter,
        chosen[0].parent.name.removeprefix("python") if chosen else "",
        dict(_packages(chosen[0])) if chosen else {},
        _foreign(chosen[0]) if chosen else (),
    )


def descriptors_of(pids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Return the number of open descriptors, and the limit, of processes that may be looked at."""
    found = {}
    for pid in pids:
        limits = _line(_text(f"/proc/{pid}/limits"), "Max open files").split()
        try:
            count = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        if limits and limits[0].isdecimal():
            found[pid] = (count, int(limits[0]))
    return found


def _packages(folder: Path) -> Iterable[tuple[str, str]]:
    for each in folder.glob("*.dist-info"):
        name, _, version = each.name.removesuffix(".dist-info").partition("-")
        yield name.lower(), version


def _foreign(folder: Path) -> list[str]:
    """Return the compiled modules that no file for this folder's version of Python has."""
    tag = f"cpython-{folder.parent.name.removeprefix('python').replace('.', '')}-"
    modules: dict[str, bool] = {}
    for each in (*folder.glob("*/*.so"), *folder.glob("*/*/*.so")):
        stem = each.name.partition(".")[0]
        fits = tag in each.name or ".abi3." in each.name or "cpython-" not in each.name
        modules[f"{each.parent.name}.{stem}"] = modules.get(f"{each.parent.name}.{stem}", False) or fits
    return sorted(name for name, fits in modules.items() if not fits)


def _unread(unit: CheckedUnit, found: Mapping[str, str]) -> list[str]:
    """Return the files of a unit that systemd does not list.

    Its NeedDaemonReload does not see a drop-in whose folder is new (252, 257).
    """
    listed = f"{found.get('FragmentPath', '')} {found.get('DropInPaths', '')}"
    own = dict.fromkeys(at.path for at in unit.written) if listed.strip() else ()
    return [path for path in own if path not in listed and os.path.realpath(path) not in listed]


def _newer(paths: Iterable[str], pid: str) -> list[str]:
    """Return the files that are newer than a process."""
    try:
        begun = os.stat(f"/proc/{pid}").st_mtime if pid not in ("", "0") else float("inf")
    except OSError:
        return []
    return sorted({path for path in paths if _modified(path) > begun})


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _free(path: str) -> float:
    try:
        found = os.statvfs(path)
    except OSError:
        return 1.0
    parts = [(found.f_bavail, found.f_blocks), (found.f_favail, found.f_files)]
    return min([have / whole for have, whole in parts if whole], default=1.0)


def _available(meminfo: str) -> int:
    words = _line(meminfo, "MemAvailable:").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else 0


def _line(text: str, begin: str) -> str:
    """Return the rest of the line that begins so; '' if there is none."""
    return next((line[len(begin) :] for line in text.splitlines() if line.startswith(begin)), "")


def _text(path: str) -> str:
    try:
        return files.read(path).decode("utf-8", "replace")
    except OSError:
        return ""
