"""A unit that is checked: its assignments, each with its place in a file, and the values in force."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sockact.check import command
from sockact.check.command import CommandLine
from sockact.check.servers import ServerFacts
from sockact.systemd import unit_syntax
from sockact.systemd.unit_files import UnitFiles
from sockact.systemd.unit_syntax import TRUE, Assignment

FOLDERS = {
    "t": "/run",
    "S": "/var/lib",
    "C": "/var/cache",
    "L": "/var/log",
    "E": "/etc",
    "T": "/tmp",
    "V": "/var/tmp",
}
"""The specifiers for folders of the system's manager: systemd.unit(5), Specifiers."""

IMPLIED = {
    "ProtectHome": "read-only",
    "ProtectSystem": "strict",
    "NoNewPrivileges": "yes",
    "RestrictSUIDSGID": "yes",
    "PrivateTmp": "yes",
}
"""Options that DynamicUser=yes implies: systemd.exec(5)."""


@dataclass(frozen=True)
class CheckedUnit:
    """A unit.

    Args:
        files: its files.
    """

    files: UnitFiles

    @property
    def name(self) -> str:
        """`app.service`."""
        return self.files.name

    def is_same(self, other: CheckedUnit) -> bool:
        """Return whether another unit has the same file, as an alias or another instance."""
        own, theirs = self.files.fragment, other.files.fragment
        return bool(own and theirs) and os.path.realpath(str(own)) == os.path.realpath(str(theirs))

    @property
    def kind(self) -> str:
        """`service`."""
        return self.name.rpartition(".")[2]

    @cached_property
    def written(self) -> list[Assignment]:
        """All assignments, in the order in which they are applied."""
        return self.files.assignments()

    @cached_property
    def _by_option(self) -> Mapping[str, list[Assignment]]:
        found: dict[str, list[Assignment]] = {}
        for each in unit_syntax.in_force(self.written):
            found.setdefault(each.option, []).append(each)
        return found

    def every(self, option: str) -> list[Assignment]:
        """Return the assignments of an option that are in force."""
        return self._by_option.get(option, [])

    def last(self, option: str) -> Assignment | None:
        """Return the assignment that counts, of an option with one value."""
        return ([None, *self.every(option)])[-1]

    def value(self, option: str, default: str = "") -> str:
        """Return the value of an option, specifiers resolved."""
        at = self.last(option)
        if at is None and self.is_true("Service.DynamicUser") and option != "Service.DynamicUser":
            default = IMPLIED.get(option.partition(".")[2], default)
        return default if at is None else self.expand(at.value)

    def is_true(self, option: str) -> bool:
        """Return whether a boolean option is on."""
        at = self.last(option)
        return at is not None and at.value.lower() in TRUE

    def seconds(self, option: str, default: float) -> float:
        """Return the time span of an option; the default also if it is none."""
        found = unit_syntax.seconds(self.value(option))
        return default if found is None else found

    def words(self, *options: str) -> list[tuple[str, Assignment]]:
        """Return the words of list options, each with its assignment."""
        return [
            (self.expand(word), at)
            for option in options
            for at in self.every(option)
            for word in unit_syntax.words(at.value)
        ]

    def units(self, *options: str) -> list[tuple[str, Assignment]]:
        """Return the units in list options; in a template, instances are named like their templates."""
        stem = self.name.rpartition(".")[0]
        every = [(name.replace("%N", stem), at) for name, at in self.words(*options)]
        return [(re.sub("%[iI]", "", name), at) for name, at in every]

    def sets(self, option: str) -> bool:
        """Return whether an option is assigned at all, be it to nothing, or implied by DynamicUser=."""
        implied = self.is_true("Service.DynamicUser") and option.partition(".")[2] in IMPLIED
        return implied or any(each.option == option for each in self.written)

    def has_section(self, section: str) -> bool:
        """Return whether anything is assigned in a section."""
        return any(each.option.startswith(f"{section}.") for each in self.written)

    def expand(self, text: str) -> str:
        """Resolve the specifiers that do not depend on the machine; the others stay."""
        stem = self.name.rpartition(".")[0]
        prefix, at, instance = stem.partition("@")
        known = {
            **FOLDERS,
            "%": "%",
            "n": self.name,
            "N": stem,
            "p": prefix,
            "j": prefix.rpartition("-")[2],
        }
        if instance or not at:
            known |= {"i": instance, "I": instance}
        else:
            known = {letter: value for letter, value in known.items() if letter not in "nN"}
        return re.sub(r"%(.)", lambda found: known.get(found[1], found[0]), text)

    @cached_property
    def environment(self) -> Mapping[str, tuple[str, Assignment]]:
        """The variables of Environment=, each with its assignment."""
        found: dict[str, tuple[str, Assignment]] = {}
        for word, at in self.words("Service.Environment"):
            name, equals, value = word.partition("=")
            if equals:
                found[name] = (value, at)
        return found

    def commands(self, *options: str) -> list[CommandLine]:
        """Return the command lines of options such as `ExecStart`."""
        return [
            command.read(at, self.expand) for option in options for at in self.every(f"Service.{option}")
        ]

    @cached_property
    def main(self) -> CommandLine | None:
        """The command line of the main process."""
        found = self.commands("ExecStart")
        return found[-1] if found else None

    @property
    def server(self) -> ServerFacts | None:
        """The server that it runs; None if it is none that is known."""
        return None if self.main is None else self.main.facts

    @property
    def is_roots(self) -> bool:
        """True if the service runs as root."""
        dynamic = self.is_true("Service.DynamicUser")
        return not dynamic and self.value("Service.User", "root") in ("root", "0")

    @property
    def is_sockact(self) -> bool:
        """True if it runs `sockact run`."""
        return self.server is not None and self.server.name == "sockact"

    @property
    def type(self) -> str:
        """The type of the service, `simple` if it says none."""
        return self.value("Service.Type", "dbus" if self.last("Service.BusName") else "simple")

    def setting(self, name: str) -> str | None:
        """Return the setting of sockact that its command line or environment has: `drain_timeout`."""
        found = None if self.main is None else self.main.option("--" + name.replace("_", "-"))
        if found is None:
            found = self.environment.get(f"SOCKACT_{name.upper()}", (None, None))[0]
        return found

    def is_alone(self) -> bool:
        """Return whether it is a sockact without workers."""
        return self.setting("workers") == "0"
