"""What a reload does not take over, because only the start of the main process reads it.

The main process lives on with its command line, its environment and its settings. systemd starts the
process of `ExecReload=` with the unit's environment as it is now, so that this can tell of some; the unit's
files tell of the rest, as what they say is noted at the start.
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
    *("listen", "workers", "env_file", "start_timeout", "probation", "max_draining", "surge"),
    *("max_worker_memory", "worker_watchdog", "notify", "notify_access", "handover", "drain_delay"),
    *("drain_timeout", "shutdown_timeout", "control", "pid_file", "log_level"),
)
"""The settings that a supervisor goes by itself."""

LIVE = (
    *("ExecReload", "ExecStop", "Restart", "Timeout", "Kill", "SendSIG", "Success", "RuntimeMaxSec"),
    *("FinalKillSignal", "ExitType", "NotifyAccess", "FileDescriptorStore", "OOMPolicy"),
    *("CPU", "Memory", "Tasks", "IO", "IPAccounting"),
)
"""How options of a service begin that systemd itself goes by, and knows after `daemon-reload`."""

MOST = 3000
"""Bytes of settings that a caller tells at most; the control socket takes a line of 4096."""


class Beginning:
    """What the main process was started with.

    Args:
        environ: its environment; where it is the successor of one, that has noted there what the unit said.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = settings_in(environ)
        self._service = unit_files.of_this_process(environ)
        self.note = environ[UNIT] if UNIT in environ else _written(_digests(self._service))

    def changed(self, environ: Mapping[str, str] | None) -> list[str]:
        """Return what has changed since, in a few words each.

        Args:
            environ: the settings in the unit's environment as it is now; None if nobody has told.
        """
        before, now = _read(self.note), _digests(self._service)
        options = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        told = {} if environ is None else environ
        said = [f"{name}={value}" for name, value in told.items() if self._environ.get(name) != value]
        return said + _by_unit(options)


def settings_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in an environment; none if they are too many words."""
    found = {
        variable: environ[variable]
        for variable in map(settings.variable, settings.FIELDS)
        if variable in environ
    }
    return found if sum(map(len, found.values())) < MOST else {}


def options(chosen: Settings) -> list[str]:
    """Return the options that choose those settings which a supervisor goes by."""
    defaults = settings.FIELDS
    kept = [name for name in MAIN if getattr(chosen, name) != defaults[name].default]
    return [word for name in kept for word in settings.option(name, getattr(chosen, name))]


def differences(before: Iterable[str], now: Sequence[str]) -> list[str]:
    """Return which of these options are new, and the names of those that are gone."""
    gone = {word.partition("=")[0] for word in before} - {word.partition("=")[0] for word in now}
    added = [word for word in now if word not in set(before)]
    return [word.removeprefix("--") for word in added] + [f"no {name}" for name in sorted(gone)]


def _by_unit(names: Iterable[str]) -> list[str]:
    """Turn `app.service:ExecStart` into words, one for each unit."""
    found: dict[str, list[str]] = {}
    for name in names:
        unit, _, option = name.partition(":")
        found.setdefault(unit, []).append(f"{option}=")
    return [f"{' '.join(options)} in {unit}" for unit, options in found.items()]


def _digests(service: UnitFiles | None) -> dict[str, str]:
    """Return a checksum of each option that only a start reads: of the service, and of its socket units."""
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
    return dict(word.rsplit("=", 1) for word in text.split())
