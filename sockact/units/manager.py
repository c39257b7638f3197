"""systemd, asked to verify units, to enable and to start them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sockact.errors import UnavailableError, UnitsError
from sockact.units.additions import SETTLE
from sockact.units.installing import SCRIPT
from sockact.units.unit_text import UnitText
from sockact.units.wanted import Wanted

BOOTED = "/run/systemd/system"
"""The folder that systemd makes when it boots a machine."""


def systemd_version() -> int | None:
    """Return the version of this machine's systemd; None if there is none."""
    try:
        said = _run("systemctl", "--version").stdout
    except OSError:
        return None
    match = re.match(r"systemd (\d+)", said)
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class UnitManager:
    """The system's manager or a user's.

    Attributes:
        scope: the manager, as an option of systemctl: `--system` or `--user`.
    """

    scope: str

    def require_running(self) -> None:
        """Raise UnavailableError where systemd does not run: sd_booted(3)."""
        if not os.path.isdir(BOOTED):
            raise UnavailableError(
                "systemd does not run here: expected --output FOLDER instead of --install"
            )

    def verify(self, texts: Sequence[UnitText]) -> list[str]:
        """Return what `systemd-analyze verify` says about these units.

        Raises:
            UnitsError: it refuses them.
        """
        if any(each.name.endswith(".container") for each in texts):
            return ["not verified: podman makes the service when systemd reads its units"]
        with tempfile.TemporaryDirectory(prefix="sockact-units-") as folder:
            paths = [_draft(each, folder) for each in texts]
            units = [path for path in paths if not path.endswith(".conf")]
            try:
                done = _run("systemd-analyze", self.scope, "verify", "--man=no", *units)
            except OSError as error:
                return [f"systemd-analyze verify: {error.strerror}: not verified"]
        # It complains about other units of the machine as well.
        names = "|".join(re.escape(os.path.basename(unit)) for unit in units)
        said = done.stderr.splitlines()
        lines = [line.replace(f"{folder}/", "") for line in said if re.search(names, line)]
        if done.returncode:
            raise UnitsError("systemd-analyze verify: " + "; ".join(lines or said))
        return lines

    def enable(self, names: Sequence[str]) -> None:
        """Make systemd read the files, and enable units for the next boot.

        Raises:
            UnavailableError: systemd does not do it.
        """
        self._systemctl("daemon-reload")
        self._systemctl("enable", "--quiet", *names)

    def start(self, names: Sequence[str], service: str, *, changed: bool) -> Iterator[str]:
        """Start socket units and the service; yield what there is to say.

        Args:
            names: the units that start it.
            service: the service, which is started as well, so that an app which does not start is seen.
            changed: whether a file has changed: a service that runs is restarted then, which loses nothing.

        Raises:
            UnavailableError: they do not start; with the last lines of the journal.
        """
        runs = _run("systemctl", self.scope, "is-active", "--quiet", service).returncode == 0
        begin = time.time()
        _remove_dangling(f"/run/{service.removesuffix('.service')}")
        try:
            self._systemctl("start", *names)
            self._systemctl("restart" if runs and changed else "start", service)
        except UnavailableError as error:
            raise UnavailableError(f"{error}\n{self._log([*names, service], begin)}") from error
        verb = "restarted" if runs and changed else "running already" if runs else "started"
        yield f"{service} is {verb}: systemctl {self.option}status {service}"

    @property
    def option(self) -> str:
        """The option of a command to be typed; the system's manager needs none."""
        return "--user " if self.scope == "--user" else ""

    def _log(self, units: Sequence[str], begin: float) -> str:
        chosen = [word for unit in units for word in ("-u", unit)]
        last = (f"--since=@{begin:.6f}", "--lines=15", "--no-pager", "--output=cat")
        lines = _run("journalctl", self.option.strip() or "--system", *chosen, *last).stdout
        return f"{lines}The whole log: journalctl {self.option}{' '.join(chosen)}"

    def _systemctl(self, *words: str) -> None:
        try:
            done = _run("systemctl", self.scope, *words)
        except OSError as error:
            raise UnavailableError(f"systemctl: {error.strerror}") from error
        if done.returncode:
            raise UnavailableError(f"systemctl {self.option}{' '.join(words)}: {done.stderr.strip()}")


def of(wanted: Wanted) -> UnitManager:
    """Return the manager for whom units are."""
    return UnitManager("--user" if wanted.of_user else "--system")


def _draft(text: UnitText, folder: str) -> str:
    """Write a file to be verified, of a template for one of its instances; return its path."""
    path = Path(folder, text.name.replace("@.", "@1."))
    path.parent.mkdir(exist_ok=True)
    # The script of a deploy is installed together with the units.
    path.write_text(text.text().replace(SETTLE, str(SCRIPT)), encoding="utf-8")
    return str(path)


def _remove_dangling(path: str) -> None:
    """Remove the link that systemd leaves of a dynamic user's RuntimeDirectory=.

    With User= the service would not start: "Failed to set up special execution directory" (252, 257).
    """
    if os.path.islink(path) and not os.path.exists(path):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
