"""The pause of a worker: what of it is in flight, its supervisor is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sockact.engines.group import Engines
from sockact.lifecycle.pausing import Pausing
from sockact.protocols.counters import count

ORDERED = "the supervisor's order"


class WorkerPause:
    """The pause of a worker.

    Args:
        engine: serves the apps.
        report: called with the number of requests in flight when a pause begins, and when it has become 0;
            None without a supervisor.

    Attributes:
        pausing: the pause.
    """

    def __init__(self, engine: Engines, report: Callable[[int], None] | None) -> None:
        self._engine = engine
        self._report = report
        self._told = 0
        self.pausing = Pausing(
            self._hold, engine.release, logging.INFO if report is None else logging.DEBUG
        )

    def obey(self, milliseconds: int) -> None:
        """Obey a supervisor: pause for so long, or go on."""
        if milliseconds:
            self.pausing.begin(milliseconds / 1000)
        else:
            self.pausing.end(ORDERED)

    def look(self) -> None:
        """Look what is in flight; called when something has ended."""
        if self.pausing.paused and self._told:
            self._tell()

    def _hold(self, _: float) -> None:
        self._engine.hold()
        self._tell(anew=True)

    def _tell(self, *, anew: bool = False) -> None:
        unfinished = self._engine.unfinished
        self.pausing.note(f"{count(unfinished, 'request')} in flight" if unfinished else "")
        if self._report is not None and (anew or not unfinished):
            self._report(unfinished)
        self._told = unfinished
