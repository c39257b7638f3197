"""Reads the files of this process's unit.

A service in a sandbox can seldom ask systemd: its private socket is root's, and the system bus does not
talk to a user that it cannot name (`DynamicUser=yes`). But units are files that everybody may read, found
in the folders of systemd.unit(5).

Rule of this file: a file that cannot be read counts as missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sockact.systemd import unit_syntax
from sockact.systemd.unit_syntax import TRUE, Assignment

PROC = "/proc"

SYSTEM = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
USER = (
    "{config}/systemd/user.control",
    "{runtime}/systemd/user.control",
    "{runtime}/systemd/transient",
    "{runtime}/systemd/generator.early",
    "{config}/systemd/user",
    "/etc/systemd/user",
    "{runtime}/systemd/user",
    "/run/systemd/user",
    "{runtime}/systemd/generator",
    "{data}/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
    "{runtime}/systemd/generator.late",
)

Assignments = Mapping[str, Sequence[str]]
"""The values of each `Section.Option`, in their order; an empty assignment removes those before it."""


class UnitFiles(NamedTuple):
    """The files of a unit, and of those beside it.

    Attributes:
        name: `app.service`; of an instance `app@1.service`.
        folders: the folders of unit files, in the order of precedence.
    """

    name: str
    folders: Sequence[str]

    def other(self, name: str) -> UnitFiles:
        """Return the files of another unit of the same manager."""
        return UnitFiles(name, self.folders)

    @property
    def fragment(self) -> str | None:
        """The path of the unit file itself; None if there is none, or the unit is masked."""
        for name in dict.fromkeys((self.name, template(self.name))):
            for folder in self.folders:
                path = f"{folder}/{name}"
                if os.path.lexists(path):
                    return None if os.path.realpath(path) == os.devnull else path
        return None

    @property
    def enabled(self) -> bool:
        """True if another unit pulls it in, by a link in a folder that `systemctl enable` makes."""
        return any(
            os.path.lexists(f"{folder}/{each}/{self.name}")
            for folder in self.folders
            for each in _listed(folder)
            if each.endswith((".wants", ".requires"))
        )

    def read(self) -> Assignments:
        """Return the assignments of the unit file and its drop-ins; none if they cannot be read."""
        every = self.assignments()
        found: dict[str, list[str]] = {each.option: [] for each in every}
        for each in unit_syntax.in_force(every):
            found[each.option].append(each.value)
        return found

    def assignments(self) -> list[Assignment]:
        """Return all assignments of the unit file and its drop-ins, in the order in which they apply."""
        fragment = self.fragment
        paths = () if fragment is None else (fragment, *self._drop_ins())
        return [each for path in paths for each in unit_syntax.parse(_text(path), path)]

    def _drop_ins(self) -> list[str]:
        kind = self.name.rpartition(".")[2]
        stem = template(self.name).removesuffix(f".{kind}").removesuffix("@")
        parts = stem.split("-")
        prefixes = ["-".join(parts[:count]) + f"-.{kind}" for count in range(1, len(parts))]
        names = dict.fromkeys((f"{kind}", *prefixes, template(self.name), self.name))
        found: dict[str, str] = {}
        for name in reversed(names):
            for folder in self.folders:
                for each in _listed(f"{folder}/{name}.d"):
                    if each.endswith(".conf"):
                        found.setdefault(each, f"{folder}/{name}.d/{each}")
        return [found[each] for each in sorted(found)]

    def sockets(self) -> list[UnitFiles]:
        """Return the socket units that pass their sockets to this service, as far as files tell.

        Source: systemd.socket(5), Service=; systemd.service(5), Sockets=.
        """
        listed = self._words("Service.Sockets")
        same = self.name.removesuffix(".service") + ".socket"
        units = [self.other(name) for name in dict.fromkeys((*listed, same, *self._elsewhere()))]
        return [
            unit
            for unit in units
            if unit.fragment is not None and (unit.name in listed or _service(unit) == self.name)
        ]

    def wants(self, unit: UnitFiles) -> bool:
        """Return whether another unit is started with this one, or with the machine."""
        relations = ("Requires", "Wants", "BindsTo", "Requisite", "Upholds")
        names = self._words("Service.Sockets", *(f"Unit.{each}" for each in relations))
        return unit.name in names or unit.enabled

    def _words(self, *options: str) -> list[str]:
        said = self.read()
        values = " ".join(value for option in options for value in said.get(option, ()))
        return [_instantiated(word, self.name) for word in values.split()]

    def _elsewhere(self) -> Iterator[str]:
        """Yield the names of all socket units."""
        for folder in self.folders:
            yield from (name for name in _listed(folder) if name.endswith(".socket") and "@." not in name)


def of_this_process(environ: Mapping[str, str]) -> UnitFiles | None:
    """Return the files of the service in whose cgroup this process is; None if it is in none."""
    cgroup = cgroup_of()
    name = cgroup.rpartition("/")[2]
    if not name:
        return None
    return UnitFiles(name, folders_of_user(environ) if is_users(cgroup) else SYSTEM)


def folders_of_user(environ: Mapping[str, str]) -> list[str]:
    """Return the folders of a user's units, in the order of precedence."""
    home = environ.get("HOME", "/")
    runtime = environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return [
        folder.format(
            config=environ.get("XDG_CONFIG_HOME", f"{home}/.config"),
            data=environ.get("XDG_DATA_HOME", f"{home}/.local/share"),
            runtime=runtime,
        )
        for folder in USER
    ]


def awaits_reloading(environ: Mapping[str, str]) -> bool:
    """Return whether systemd waits for RELOADING=1 after a SIGHUP; True also if no file tells.

    Source: systemd.service(5), Type=notify-reload.
    """
    service = of_this_process(environ)
    said = {} if service is None else service.read()
    return not said or said.get("Service.Type", ())[-1:] == ["notify-reload"]


def restarts_slower(environ: Mapping[str, str]) -> bool:
    """Return whether each automatic restart of this unit comes later than the one before.

    Source: systemd.service(5), RestartSteps=.
    """
    service = of_this_process(environ)
    steps = [] if service is None else service.read().get("Service.RestartSteps", [])
    return bool(steps) and steps[-1] not in ("", "0")


LEAVES_PROCESSES = {"KillMode": ("process",), "ExitType": ("main", None), "NonBlocking": TRUE}
"""The options of a unit whose other processes go on serving when its main process ends: their possible
values, None if it may be missing. Without NonBlocking= systemd makes the listeners blocking at each start,
also for the processes that have them already: accept(2) then hangs there. Source: systemd.kill(5),
systemd.service(5)."""


def leaves_processes(environ: Mapping[str, str]) -> bool:
    """Return whether this unit's processes go on serving when its main process ends, and is replaced."""
    service = of_this_process(environ)
    said = {} if service is None else service.read()
    found = {option: [None, *said.get(f"Service.{option}", ())][-1] for option in LEAVES_PROCESSES}
    return all(found[option] in values for option, values in LEAVES_PROCESSES.items())


def cgroup_in(cgroups: str) -> str:
    """Return the cgroup of the service in which a process is, '' if it is in none.

    Args:
        cgroups: the content of /proc/self/cgroup.

    Source: cgroups(7), systemd.resource-control(5): a unit's processes are in or below its own cgroup.
    """
    lines = cgroups.strip().splitlines()
    parts = lines[-1].partition("::")[2].split("/") if lines else []
    while parts and not parts[-1].endswith(".service"):
        parts.pop()
    return "/".join(parts)


def cgroup_of(pid: int | str = "self") -> str:
    """Return the cgroup of the service in which a process is, '' if it is in none, or cannot be seen."""
    return cgroup_in(_text(f"{PROC}/{pid}/cgroup"))


def is_users(cgroup: str) -> bool:
    """Return whether a service is run by a user's manager, by its cgroup."""
    return any(part.startswith("user@") for part in cgroup.split("/")[:-1])


def template(name: str) -> str:
    """Return the name of the file from which an instance is made; else the name itself."""
    stem, at, rest = name.partition("@")
    return f"{stem}@.{rest.rpartition('.')[2]}" if at else name


def _instantiated(word: str, name: str) -> str:
    """Put the name of a unit, or its parts, into a word of its file: systemd.unit(5), Specifiers."""
    stem = name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    known = {"%": "%", "n": name, "N": stem, "p": prefix, "i": instance, "I": instance}
    return re.sub(r"%(.)", lambda match: known.get(match[1], match[0]), word)


def _service(unit: UnitFiles) -> str:
    """Return the service that a socket unit starts: the one of its name, unless it names another."""
    said = unit.read()
    if said.get("Socket.Accept", ["no"])[-1:] in [[word] for word in TRUE]:
        return ""  # each connection has a service of its own
    named = said.get("Socket.Service", ())
    return _instantiated(named[-1], unit.name) if named else unit.name.removesuffix(".socket") + ".service"


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _text(path: str) -> str:
    if not os.path.isfile(path):
        return ""  # a FIFO would hold up its reader
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", "\n")  # systemd ends a line at either
    except OSError:
        return ""
