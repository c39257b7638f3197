"""Runs the probe in a separate process, while the caller reloads or restarts the service."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Self

END_TIMEOUT = 60.0
"""Seconds in which the requests in flight have to end."""


class BackgroundProbe:
    """Runs clients from the start of a `with` block until `report`, or until its end.

    Args:
        url: the service.
        specs: the loads, as on the command line.
        prefix: a command that runs another one, such as `nsenter -n` for another network.

    Raises:
        RuntimeError: not every client was served once; says which.
    """

    def __init__(self, url: str, specs: Sequence[str], prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, "-m", __package__, url, *specs, "--json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if line != "started\n":
            self.close()
            raise RuntimeError(f"the probe did not start: {line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """End a window: the report then has the longest stall between this and the last call."""
        self._process.send_signal(signal.SIGUSR1)

    def report(self) -> dict[str, Any]:
        """Stop sending, wait for the requests in flight, and return `report.document`."""
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=END_TIMEOUT)
        if not out:
            raise RuntimeError(f"the probe did not report: {err}")
        report: dict[str, Any] = json.loads(out)
        return report

    def close(self) -> None:
        """Kill the probe's process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
