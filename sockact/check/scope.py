"""The units that are checked together, and the machine on which they run, if it is this one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sockact.check.unit import CheckedUnit
from sockact.systemd.unit_files import UnitFiles


@dataclass
class Scope:
    """The units of one manager, or of one folder.

    Args:
        folders: the folders of unit files, in the order of precedence.
        here: whether these units run on this machine, so that the paths in them can be looked at.
        version: the version of systemd; None if it is not known.
    """

    folders: Sequence[str]
    here: bool = False
    version: int | None = None
    _units: dict[str, CheckedUnit] = field(default_factory=dict)

    def unit(self, name: str) -> CheckedUnit:
        """Return a unit, which may not exist."""
        if name not in self._units:
            self._units[name] = CheckedUnit(UnitFiles(name, self.folders))
        return self._units[name]

    def exists(self, name: str) -> bool:
        """Return whether a unit has a file."""
        return self.unit(name).files.fragment is not None

    def sockets_of(self, service: CheckedUnit) -> list[CheckedUnit]:
        """Return the socket units that pass their sockets to a service."""
        return [self.unit(each.name) for each in service.files.sockets()]

    def service_of(self, socket: CheckedUnit) -> CheckedUnit:
        """Return the service that a socket unit starts, which may not exist."""
        stem = socket.name.removesuffix(".socket")
        same = f"{stem}@.service" if socket.is_true("Socket.Accept") else f"{stem}.service"
        return self.unit(socket.value("Socket.Service", same))

    def others(self, kind: str) -> Iterable[CheckedUnit]:
        """Return all units of a kind."""
        names = {name for folder in self.folders for name in _listed(folder) if name.endswith(f".{kind}")}
        return [self.unit(name) for name in sorted(names) if self.exists(name)]

    def may_be_before(self, version: int) -> bool:
        """Return whether this systemd is older than a version, as far as is known."""
        return self.version is None or self.version < version

    def may_be_since(self, version: int) -> bool:
        """Return whether this systemd is that version or a later one, as far as is known."""
        return self.version is None or self.version >= version


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
