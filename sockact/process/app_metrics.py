"""The app's own metrics: prometheus-client's multiprocess mode, over the ends of processes.

Each process of an app keeps its numbers in files of a folder, which PROMETHEUS_MULTIPROC_DIR names to it;
the process that answers on the listener named `metrics` reads all of them. When a process has ended, its
live gauges go, and its counters, histograms and summaries are added to one file of each kind: so the folder
does not grow with each reload, and no number steps back. Its other gauges stay, as prometheus-client has
it.

    counter_845.db                    of process 845
    counter_sockact-7-812.db          of processes that have ended; the seventh sum, and the last it has

The new sum is there before its parts are removed. A process that is killed between these two steps leaves
both: the next one finds in the sum's name which parts it has.

The folder is RUNTIME_DIRECTORY/app-metrics, which outlives a restart if the unit has
RuntimeDirectoryPreserve=restart; or the one that the unit names itself, which is never emptied.

Source: https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.system import proc

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FOLDER = "app-metrics"

ADDED = ("counter", "histogram", "summary")
"""The kinds of metrics whose numbers are added up."""

_PART = re.compile(r"([a-z]+)_(?:([a-z]+)_)?([0-9]{1,10})\.db")
_SUM = re.compile(r"([a-z]+)_sockact-([0-9]{1,18})-([0-9]{1,10})\.db")

logger = logging.getLogger(__package__)


class AppMetrics:
    """The app's metrics, of all its processes.

    Args:
        folder: the folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @classmethod
    def prepared(cls, environ: Mapping[str, str], *, anew: bool) -> AppMetrics | None:
        """Return the metrics in the folder for this service, which is made; None if none can be made.

        Args:
            environ: the environment of this process.
            anew: whether the service has just started: files of an earlier life are removed.
        """
        if given := environ.get(VARIABLE, ""):
            return cls(given)
        folder = _folder(environ.get("RUNTIME_DIRECTORY", "").split(":")[0])
        try:
            _make_private(folder)
            if anew:
                _empty(folder)
        except OSError as error:
            logger.warning("the app's own metrics are not collected: %s: %s", folder, error.strerror)
            return None
        return cls(folder)

    def collect(self) -> Sequence[Any]:
        """Return the metrics of all processes, those that have ended included; reads files.

        Raises:
            Exception: whatever prometheus-client says to files that others have written.
        """
        from prometheus_client.multiprocess import MultiProcessCollector

        self._add_ended()
        names = (name for name in sorted(os.listdir(self.folder)) if name.endswith(".db"))
        files = [self._path(name) for name in names if self._has_begun(name)]
        return list(MultiProcessCollector.merge(files))

    def _add_ended(self) -> None:
        """Add the numbers of processes that have ended to those before."""
        ended = defaultdict(list)
        for name in sorted(os.listdir(self.folder)):
            match = _PART.fullmatch(name)
            if match and not proc.lives(int(match[3])):
                ended[match[1]].append((name, match[2] or "", match[3]))
        for kind, parts in ended.items():
            for name, mode, pid in parts:
                if kind in ADDED and self._has_begun(name):
                    self._add(kind, name, pid)
                elif kind in ADDED or mode.startswith("live"):
                    self._remove(name)

    def _has_begun(self, name: str) -> bool:
        """Return whether a file is more than opened: prometheus-client cannot read an empty one."""
        return os.stat(self._path(name)).st_size > 0

    def _add(self, kind: str, name: str, pid: str) -> None:
        from prometheus_client.mmap_dict import MmapedDict

        before, number = self._last_sum(kind)
        numbers: dict[str, tuple[float, float]] = {}
        for each in (before, name):
            for key, value, at, _ in MmapedDict.read_all_values_from_file(self._path(each)) if each else ():
                numbers[key] = numbers.get(key, (0.0, 0.0))[0] + value, at
        unfinished = self._path(f"{kind}.unfinished")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        new = MmapedDict(unfinished)
        for key, (value, at) in numbers.items():
            new.write_value(key, value, at)
        new.close()
        os.rename(unfinished, self._path(f"{kind}_sockact-{number + 1}-{pid}.db"))
        if before:
            self._remove(before)
        self._remove(name)

    def _last_sum(self, kind: str) -> tuple[str, int]:
        """Return the name and the number of the valid sum, and remove those that it has; empty for none."""
        found = {
            int(match[2]): match
            for name in os.listdir(self.folder)
            if (match := _SUM.fullmatch(name))
            if match[1] == kind
        }
        if not found:
            return "", 0
        last = max(found)
        for number, match in found.items():
            if number != last:
                self._remove(match[0])
        return found[last][0], last

    def recover(self) -> None:
        """Remove what a process that was killed amid an addition has left."""
        for kind in ADDED:
            name, _ = self._last_sum(kind)
            if match := _SUM.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    self._remove(f"{kind}_{match[3]}.db")

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _remove(self, name: str) -> None:
        os.unlink(self._path(name))


def _folder(runtime: str) -> str:
    """Return the path of the folder, below the runtime directory if the service has one."""
    if runtime:
        return f"{runtime}/{FOLDER}"
    from tempfile import gettempdir  # it imports bz2 and more, which no supervisor under systemd needs

    # A process that serves alone is the same in its next life, which has to find it again.
    return f"{gettempdir()}/sockact-{FOLDER}-{os.getpid()}"


def _make_private(folder: str) -> None:
    """Make a folder; raises OSError if it is there and is that of another user."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(0, "expected a folder of this user")


def _empty(folder: str) -> None:
    for name in os.listdir(folder):
        if name.endswith((".db", ".unfinished")):
            os.unlink(f"{folder}/{name}")
