"""Finds the units that a command line names, as units, files or folders, and those that belong to them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import basename, dirname

from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.errors import UsageError
from sockact.systemd import systemctl, unit_files

KINDS = (".service", ".socket")
Selection = list[tuple[Scope, CheckedUnit]]


def select(
    words: Sequence[str], environ: Mapping[str, str], *, user: bool, here: bool, version: int | None
) -> Selection:
    """Return units, each with the scope in which it is checked.

    Args:
        words: names of units, files, or folders with units; none: those that the administrator has written.
        environ: where a user's folders are.
        user: units of the user's manager.
        here: whether files outside of the manager's folders are for this machine, too.
        version: the version of systemd that runs them; None: this machine's, for units of this machine.

    Raises:
        UsageError: a unit or file is missing, or of a kind that is not checked.
    """
    folders = unit_files.folders_of_user(environ) if user else list(unit_files.SYSTEM)
    places = Places(Scope(folders, here=True, version=version or systemctl.version()), here, version)
    found = [pair for word in words for pair in places.find(word)]
    if not words and os.path.isdir(own := folders[4]):
        found = places.written(own)
    every = [(scope, unit) for scope, first in found for unit in _with_partners(scope, first)]
    return list({id(unit): (scope, unit) for scope, unit in every}.values())


@dataclass
class Places:
    """The folders in which units are looked for.

    Args:
        manager: the folders of the service manager.
        here: whether units in other folders are for this machine, too.
        version: the version of systemd that runs those, if it was given.
    """

    manager: Scope
    here: bool
    version: int | None
    _scopes: dict[str, Scope] = field(default_factory=dict)

    def find(self, word: str) -> Selection:
        """Return the units that a word names: a unit of the manager rather than a folder or file here."""
        name = word if word.endswith(KINDS) else f"{word}.service"
        known = [each for each in (name, f"{word}.socket") if "/" not in word and self.manager.exists(each)]
        if known:
            return [(self.manager, self.manager.unit(_without_alias(self.manager, known[0])))]
        if os.path.isdir(word):
            return self.written(word, links=True)
        if not os.path.isfile(word):
            where = "there is no such file" if "/" in word else "no such unit is here, or it is masked"
            raise UsageError(f"{word}: {where}: expected the name of a unit, or a file with one")
        return [self._in_file(word)]

    def written(self, folder: str, *, links: bool = False) -> Selection:
        """Return the units whose files are in a folder."""
        names = [name for name in _listed(folder) if name.endswith(KINDS)]
        files = [name for name in names if links or not os.path.islink(f"{folder}/{name}")]
        scope = self._scope(folder)
        return [(scope, scope.unit(name)) for name in files if scope.exists(name)]

    def _in_file(self, path: str) -> tuple[Scope, CheckedUnit]:
        folder, name = dirname(path) or ".", basename(path)
        if name.endswith(".conf") and folder.endswith(".d"):
            folder, name = dirname(folder) or ".", basename(folder).removesuffix(".d")
        if not name.endswith(KINDS):
            raise UsageError(f"{path}: expected a service or a socket unit, like app.service")
        scope = self._scope(folder)
        if not scope.exists(name):
            raise UsageError(f"{path} is a drop-in of {name}, and {folder} has no such unit")
        return scope, scope.unit(name)

    def _scope(self, folder: str) -> Scope:
        real = os.path.realpath(folder)
        if real in {os.path.realpath(each) for each in self.manager.folders if os.path.isdir(each)}:
            return self.manager
        if real not in self._scopes:
            version = self.version or (self.manager.version if self.here else None)
            self._scopes[real] = Scope([folder], here=self.here, version=version)
        return self._scopes[real]


def _without_alias(scope: Scope, name: str) -> str:
    """Return the name that a unit has in its own file, to which an alias is a link."""
    real = basename(os.path.realpath(str(scope.unit(name).files.fragment)))
    return real if "@" not in name and real.endswith(KINDS) and scope.exists(real) else name


def _with_partners(scope: Scope, unit: CheckedUnit) -> list[CheckedUnit]:
    """Return a unit with its socket units, or with its service."""
    if unit.name.endswith(".socket"):
        service = scope.service_of(unit)
        return [unit, service] if scope.exists(service.name) else [unit]
    return [unit, *scope.sockets_of(unit)]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
