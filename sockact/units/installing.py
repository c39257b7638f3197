"""Unit files on this machine: compared with those that are there, verified by systemd, written, started."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sockact.errors import UnavailableError, UnitsError
from sockact.units.additions import SETTLE
from sockact.units.unit_text import UnitText

SYSTEM = "/etc/systemd/system"
"""The folder for the administrator's own units: systemd.unit(5)."""

CONTAINERS = "/etc/containers/systemd"
"""The folder for the administrator's own containers: podman-systemd.unit(5)."""

_SCRIPT = Path(__file__).with_name("settle")


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file to be written.

    Attributes:
        path: where.
        new: its content.
        mode: its permissions.
        old: the content of the file that is there; None if there is none.
    """

    path: Path
    new: str
    mode: int
    old: str | None

    @property
    def state(self) -> str:
        """What is to be done with it: `new`, `unchanged` or `changed`."""
        return "new" if self.old is None else "unchanged" if self.old == self.new else "changed"

    def diff(self) -> str:
        """Return the difference, in the form of `diff -u`."""
        old = (self.old or "").splitlines(keepends=True)
        new = self.new.splitlines(keepends=True)
        return "".join(difflib.unified_diff(old, new, str(self.path), f"{self.path} (new)"))


def systemd_version() -> int | None:
    """Return the version of this machine's systemd; None if there is none."""
    try:
        said = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return None
    match = re.match(r"systemd (\d+)", said)
    return int(match[1]) if match else None


def changes(texts: Iterable[UnitText], folder: str) -> list[FileChange]:
    """Return the files to be written.

    Raises:
        UnavailableError: a file that is there cannot be read.
    """
    found = [_change(path_of(each, folder), each.text(), 0o644) for each in texts]
    if any(change.path.name.endswith("-deploy.path") for change in found) and folder == SYSTEM:
        found.append(_change(Path(SETTLE), _SCRIPT.read_text(encoding="utf-8"), 0o755))
    return found


def path_of(text: UnitText, folder: str) -> Path:
    """Return the path of a file; podman has a folder of its own."""
    ours = folder == SYSTEM and text.name.endswith(".container")
    return Path(CONTAINERS if ours else folder, text.name)


def verify(texts: Sequence[UnitText]) -> list[str]:
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
            done = _run("systemd-analyze", "verify", "--man=no", *units)
        except OSError as error:
            return [f"systemd-analyze verify: {error.strerror}: not verified"]
        # It complains about other units of the machine as well.
        stems = "|".join(re.escape(os.path.basename(unit)) for unit in units)
        lines = [
            line.replace(f"{folder}/", "") for line in done.stderr.splitlines() if re.search(stems, line)
        ]
    if done.returncode:
        raise UnitsError("systemd-analyze verify: " + "; ".join(lines or done.stderr.splitlines()))
    return lines


def write(files: Iterable[FileChange]) -> None:
    """Write files that are new or have changed, each in one step.

    Raises:
        UnavailableError: a file cannot be written.
    """
    for each in files:
        if each.state != "unchanged":
            try:
                _replace(each)
            except OSError as error:
                hint = ": expected root" if isinstance(error, PermissionError) else ""
                raise UnavailableError(f"cannot write {each.path}: {error.strerror}{hint}") from error


def enable(names: Sequence[str]) -> None:
    """Make systemd read the files, and enable units for the next boot.

    Raises:
        UnavailableError: systemd does not do it.
    """
    _systemctl("daemon-reload")
    _systemctl("enable", "--quiet", *names)


def start(names: Sequence[str], service: str, changed: bool) -> Iterator[str]:
    """Start socket units and the service; yield what there is to say.

    Args:
        names: the units that start it.
        service: the service, which is started as well, so that an app which does not start is seen.
        changed: whether a file has changed: a service that runs is restarted then, which loses nothing.

    Raises:
        UnavailableError: they do not start; with the last lines of the journal.
    """
    runs = _run("systemctl", "is-active", "--quiet", service).returncode == 0
    begin = time.time()
    _remove_dangling(f"/run/{service.removesuffix('.service')}")
    try:
        _systemctl("start", *names)
        _systemctl("restart" if runs and changed else "start", service)
    except UnavailableError as error:
        last = (f"--since=@{begin:.6f}", "--lines=15", "--no-pager", "--output=cat")
        log = _run("journalctl", "--unit", service, *last).stdout
        raise UnavailableError(f"{error}\n{log}The whole log: journalctl -u {service}") from error
    verb = "restarted" if runs and changed else "running already" if runs else "started"
    yield f"{service} is {verb}: systemctl status {service}"


def _draft(text: UnitText, folder: str) -> str:
    """Write a file to be verified, of a template for one of its instances; return its path."""
    path = Path(folder, text.name.replace("@.", "@1."))
    path.parent.mkdir(exist_ok=True)
    # The script of a deploy is installed together with the units.
    path.write_text(text.text().replace(SETTLE, str(_SCRIPT)), encoding="utf-8")
    return str(path)


def _change(path: Path, new: str, mode: int) -> FileChange:
    try:
        old = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return FileChange(path, new, mode, None)
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}") from error
    return FileChange(path, new, mode, old)


def _remove_dangling(path: str) -> None:
    """Remove the link that systemd leaves of a dynamic user's RuntimeDirectory=.

    With User= the service would not start: "Failed to set up special execution directory" (252, 257).
    """
    if os.path.islink(path) and not os.path.exists(path):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _replace(each: FileChange) -> None:
    each.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=".sockact-", dir=each.path.parent)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(each.new)
            os.fchmod(fd, each.mode)
        os.replace(name, each.path)
    except BaseException:
        os.unlink(name)
        raise


def _systemctl(*words: str) -> None:
    try:
        done = _run("systemctl", *words)
    except OSError as error:
        raise UnavailableError(f"systemctl: {error.strerror}") from error
    if done.returncode:
        raise UnavailableError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
