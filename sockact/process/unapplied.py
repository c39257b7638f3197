"""The changes that a reload does not apply, because only the start of the main process reads them.

The main process keeps its command line, its environment and its settings. systemd starts the process of
`ExecReload=` with the unit's present environment, so that this process can report some of the changes; the
unit's files show the rest, as their checksums are noted at the start.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence

from sockact.config import settings
from sockact.config.settings import Settings
from sockact.protocols.environment import UNIT
from sockact.systemd import unit_files
from sockact.systemd.unit_files import UnitFiles

MAIN = (
    *("listen", "workers", "preload", "env_file", "start_timeout", "probation", "max_draining", "surge"),
    *("canary", "canary_for"),
    *("max_worker_memory", "worker_watchdog", "notify", "notify_access", "handover", "drain_delay"),
    *("drain_timeout", "shutdown_timeout", "control", "pid_file", "log_level", "log_format"),
)
"""The settings that a supervisor applies itself."""

LIVE = (
    *("ExecReload", "ExecStop", "Restart", "Timeout", "Kill", "SendSIG", "Success", "RuntimeMaxSec"),
    *("FinalKillSignal", "ExitType", "NotifyAccess", "FileDescriptorStore", "OOMPolicy"),
    *("CPU", "Memory", "Tasks", "IO", "IPAccounting"),
)
"""The beginnings of service options that systemd itself applies, and knows after `daemon-reload`."""

MAX_SETTINGS_LENGTH = 3000
"""The most characters of settings that a caller sends; the control socket takes a line of 4096."""


class StartSnapshot:
    """The settings and unit files with which the main process was started.

    Args:
        environ: its environment; a predecessor has noted the checksums of the unit's options there.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = settings_in(environ)
        self._service = unit_files.of_this_process(environ)
        self.note = environ[UNIT] if UNIT in environ else _written(_digests(self._service))

    def changed(self, environ: Mapping[str, str] | None) -> list[str]:
        """Return the changes since then, in a few words each.

        Args:
            environ: the settings in the unit's present environment; None if it is not known.
        """
        before, now = _read(self.note), _digests(self._service)
        options = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        told = {} if environ is None else environ
        said = [f"{name}={value}" for name, value in told.items() if self._environ.get(name) != value]
        return said + _by_unit(options)


def settings_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in an environment; none if they are too long to be sent."""
    found = {
        variable: environ[variable]
        for variable in map(settings.variable, settings.FIELDS)
        if variable in environ
    }
    return found if sum(map(len, found.values())) < MAX_SETTINGS_LENGTH else {}


def options(chosen: Settings) -> list[str]:
    """Return the command-line options of the settings that a supervisor applies."""
    defaults = settings.FIELDS
    kept = [name for name in MAIN if getattr(chosen, name) != defaults[name].default]
    return [word for name in kept for word in settings.option(name, getattr(chosen, name))]


def differences(before: Iterable[str], now: Sequence[str]) -> list[str]:
    """Return the options that are new, and the names of those that are gone."""
    gone = {word.partition("=")[0] for word in before} - {word.partition("=")[0] for word in now}
    added = [word for word in now if word not in set(before)]
    return [word.removeprefix("--") for word in added] + [f"no {name}" for name in sorted(gone)]


def _by_unit(names: Iterable[str]) -> list[str]:
    """Return texts like `ExecStart= in app.service`, one for each unit."""
    found: dict[str, list[str]] = {}
    for name in names:
        unit, _, option = name.partition(":")
        found.setdefault(unit, []).append(f"{option}=")
    return [f"{' '.join(options)} in {unit}" for unit, options in found.items()]


def _digests(service: UnitFiles | None) -> dict[str, str]:
    """Return a checksum of each option of the service and its socket units that only a start reads."""
    if service is None:
        return {}
    found = {}
    for unit, section in [(service, "Service."), *((each, "Socket.") for each in service.sockets())]:
        for name, values in unit.read().items():
            option = name.removeprefix(section)
            if name.startswith(section) and values and not (unit is service and option.startswith(LIVE)):
                found[f"{unit.name}:{option}"] = f"{zlib.crc32(os.fsencode(chr(10).join(values))):x}"
    return found


def _written(digests: Mapping[str, str]) -> str:
    return " ".join(f"{name}={digest}" for name, digest in digests.items())


def _read(text: str) -> dict[str, str]:
    found = (word.rpartition("=") for word in text.split())
    return {name: digest for name, equals, digest in found if equals}
