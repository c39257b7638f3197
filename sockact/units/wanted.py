"""An app and how it is to be served: all that its units are made of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sockact.config import settings
from sockact.config.settings import Settings
from sockact.errors import UnitsError, UsageError
from sockact.units import syntax
from sockact.units.addresses import ListenAddress, SocketGroup, grouped

OLDEST = 248
"""The first systemd that knows all options: PrivateIPC=, and $SYSTEMD_EXEC_PID."""

FITS_ALL = 252
"""The systemd of Debian 12, the oldest that sockact is tested with: its units suit all later ones, too."""

DYNAMIC = "dynamic"
"""As a user: one that systemd makes for the time of the service."""

OF_THE_LOADER = (
    *("LD_AUDIT", "LD_DEBUG_OUTPUT", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_PROFILE", "LD_PROFILE_OUTPUT"),
    *("GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "MALLOC_TRACE", "NLSPATH"),
)
"""Variables by which a program runs code, or writes files, of the author of its environment, before
its first line: those that glibc itself ignores in privileged programs (ld.so(8), secure-execution mode)."""

_SETTINGS_OF_UNITS = ("listen", "chdir")
"""Settings that are not passed on as they are: the socket unit has the one, `folder` is the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The wishes for an app's units.

    Attributes:
        name: the name of the service, without `.service`.
        apps: the apps, as `sockact run` takes them.
        addresses: where systemd listens.
        venv: the folder of the virtual environment with sockact and the app's libraries.
        folder: the folder to import the app from.
        given: further settings of sockact, as texts.
        user: a user, or DYNAMIC.
        state: whether the app keeps data, in /var/lib.
        version: the systemd that the units are for.
        template: whether they are for several instances.
        certificate: the files of a certificate and its key, which only root needs to be able to read.
        releases: the paths whose change is a deploy.
        socket_group: the group that may connect to Unix sockets; else everybody may.
        environment: the app's variables.
        carried: options of an existing unit that stay, by section.
        image: the image of a container for podman; "" if there is none.
        of_user: whether a user's own manager runs it, and not the system's.
        hardened: whether the app needs less than most: no network, and no programs of its own making.
    """

    name: str
    apps: Sequence[str]
    addresses: Sequence[ListenAddress]
    venv: str
    folder: str
    given: Mapping[str, Any] = field(default_factory=dict)
    user: str = DYNAMIC
    state: bool = False
    version: int = FITS_ALL
    template: bool = False
    certificate: tuple[str, str] | None = None
    releases: Sequence[str] = ()
    socket_group: str = ""
    environment: Sequence[tuple[str, str]] = ()
    carried: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    image: str = ""
    of_user: bool = False
    hardened: bool = False

    @property
    def settings(self) -> Settings:
        """The settings of the service; raises SettingsError if one has no valid value."""
        return settings.resolve(self.given, {})

    @property
    def groups(self) -> list[SocketGroup]:
        """The socket units' addresses."""
        return grouped(self.addresses)

    @property
    def dynamic(self) -> bool:
        """True if systemd makes a user for the service."""
        return self.user == DYNAMIC

    @property
    def at(self) -> str:
        """The mark of a template in the names of its units."""
        return "@" if self.template else ""

    @property
    def service(self) -> str:
        """The name of the service's file."""
        return f"{self.name}{self.at}.service"

    def socket(self, group: SocketGroup) -> str:
        """Return the name of a socket unit's file."""
        return f"{self.name}{group.suffix}{self.at}.socket"

    def socket_of_service(self, group: SocketGroup) -> str:
        """Return the name of a socket unit as the service says it, by specifiers: it fits every name."""
        if not group.suffix:
            return "%N.socket"
        return f"%p{group.suffix}@%i.socket" if self.template else f"%N{group.suffix}.socket"

    def words(self) -> str:
        """Return the command line of the service, as `ExecStart=` has it."""
        run = [self.by_name(f"{self.venv}/bin/sockact"), "run", f"--chdir={self.by_name(self.folder)}"]
        for name, value in self.given.items():
            if name not in _SETTINGS_OF_UNITS:
                run += [_escaped(word) for word in settings.option(name, value)]
        return syntax.command([*run, *map(_escaped, self.apps)], specifiers=True)

    def by_name(self, path: str) -> str:
        """Return a path with `%p` for the name of the service, so that a copy fits another name."""
        parts = ("%p" if part == self.name else _escaped(part) for part in path.split("/"))
        return "/".join(parts)

    def check(self) -> None:
        """Raise an error if these units could not work, wherever they are installed."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", self.name):
            raise UsageError(f"--name {self.name!r}: expected letters, digits and -_. as in shop")
        if self.name.endswith((".service", ".socket")):
            raise UsageError(
                f"--name {self.name}: expected {self.name.rpartition('.')[0]}, without an ending"
            )
        if self.version < OLDEST:
            raise UsageError(f"--systemd {self.version}: expected {OLDEST} or later")
        self._check_user()
        if self.of_user:
            self._check_manager()
        self._check_environment()
        for each in self.addresses:
            self._check_address(each)
        for path in (self.venv, self.folder, *self.releases, *(self.certificate or ())):
            _require_absolute(path)
        # Raises SettingsError.
        self.settings  # noqa: B018

    def _check_user(self) -> None:
        if self.user == "root":
            raise UsageError(
                "--user root: expected dynamic, or a user without privileges: an app needs none"
            )
        for option, name in (("--user", self.user), ("--socket-group", self.socket_group)):
            # systemd.exec(5), User=
            if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", name):
                raise UsageError(f"{option} {name!r}: expected a name of letters, digits and _.-")

    def _check_manager(self) -> None:
        """Raise UsageError for anything that takes root."""
        given = {
            "--user": not self.dynamic,
            "--socket-group": bool(self.socket_group),
            "--tls": self.certificate is not None,
            "--deploy-path": bool(self.releases),
            "--quadlet": bool(self.image),
            "--hardened": self.hardened,
        }
        for option, is_given in given.items():
            if is_given:
                raise UsageError(f"{option} with --manager user: expected the system's manager")
        first = _first_port()
        for each in self.addresses:
            if 0 < each.port < first:
                raise UnitsError(
                    f"--listen {each.value}: a user's manager may open ports from {first} on:"
                    f" expected one of these, the system's manager, or"
                    f" net.ipv4.ip_unprivileged_port_start={each.port}"
                )

    def _check_environment(self) -> None:
        """Raise UnitsError for a variable that the service takes away from all of its commands."""
        for name, value in () if self.of_user or self.image else self.environment:
            if name in OF_THE_LOADER:
                raise UnitsError(
                    f"--env {name}={value}: root's commands of the unit would be loaded with it, too:"
                    f" expected it in a file for --env-file"
                )

    def _check_address(self, address: ListenAddress) -> None:
        if self.template and "%i" not in address.value:
            raise UnitsError(
                f"--listen {address.value}: all instances would listen there: expected %i in it, as in"
                " 127.0.0.1:%i"
            )
        # /var/run is a link to /run.
        path = os.path.normpath(address.value.replace("/var/run/", "/run/", 1))
        folder = rf"/run/(private/|user/\d+/)?{re.escape(self.name)}(@[^/]*)?/"
        if address.kind == "unix" and re.match(folder, path):
            raise UnitsError(
                f"--listen unix:{address.value} is in RuntimeDirectory=, which systemd removes when the"
                " service stops, and the socket's path with it: expected a path elsewhere, as"
                f" unix:/run/{self.name}.sock"
            )


def _first_port() -> int:
    """Return the first port that takes no privileges: ip(7)."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def _escaped(word: str) -> str:
    return word.replace("%", "%%")


def _require_absolute(path: str) -> None:
    if not path.startswith("/"):
        raise UsageError(f"{path!r}: expected an absolute path")
    syntax.text(path, "path")
