"""The client of the moving app as a process of the tests'."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = Path(__file__).parents[1] / "programs" / "numbered.py"
APP = Path(__file__).parents[1] / "apps" / "moving_app.py"
LIMIT = 120.0


class Numbered:
    """WebSockets with numbers both ways, from the beginning of the block until `report`."""

    def __init__(self, url: str, count: int, rate: float = 20, prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, str(PROGRAM), url, str(count), str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "opened\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()

    def report(self) -> dict[str, Any]:
        """Let it end; return what it has counted."""
        said, _ = self._process.communicate("", timeout=LIMIT)
        return json.loads(said)


def assert_nothing_lost(report: dict[str, Any]) -> None:
    """See that each number has come once, both ways, and that no WebSocket was closed."""
    counts = report["counts"]
    assert report["failures"] == {}, report
    assert counts["echoed"] == counts["sent"] > 0
    assert counts["pushed"] > 0
