"""The view of a fleet that others get: its name, its status, and an overview of its workers."""

from __future__ import annotations

from typing import Any

from sockact.process.child import Child
from sockact.protocols import overview
from sockact.protocols.counters import count
from sockact.supervisor.children import Children
from sockact.supervisor.fleet import Fleet, Stage, WorkerRecord
from sockact.supervisor.reports import Reports


class FleetView:
    """Puts together what is known of a supervisor's workers.

    Args:
        fleet: the supervisor's decisions about them.
        children: their processes.
        reports: their own reports.
    """

    def __init__(self, fleet: Fleet, children: Children, reports: Reports) -> None:
        self._fleet = fleet
        self._children = children
        self._reports = reports

    @property
    def name(self) -> str:
        """The name of the generation that serves, or of the first, with its version."""
        number = self._fleet.current or self._fleet.next or 1
        versions = {self._reports.of(worker.number).version for worker in self._generation(number)}
        return overview.generation(number, ", ".join(sorted(versions - {""})))

    def status(self) -> str:
        """Return how many workers are ready, and how many drain, in words."""
        workers = self._fleet.workers.values()
        serving = self._generation(self._fleet.current or self._fleet.next)
        ready = sum(worker.stage is Stage.READY for worker in serving)
        draining = sum(worker.stage is Stage.DRAINING for worker in workers)
        text = f"{count(ready, 'worker')} ready, {self._reports.counters.in_flight} in flight"
        left_over = 0 if self._fleet.current else sum(each.left_over and each.serves for each in workers)
        text += f", {left_over} of the supervisor before serve" if left_over else ""
        text += f", the canary of gen {self._fleet.canary} serves" if self._fleet.compares else ""
        return text + (f", {draining} draining" if draining else "")

    def serves(self, *, started: bool) -> bool:
        """Return whether a worker accepts connections; until the service has `started`, a left-over one."""
        workers = self._fleet.workers.values()
        return any(worker.serves and (started or worker.left_over) for worker in workers)

    def options(self) -> str | None:
        """Return the supervisor's settings, as the newest code has them; None if it has not told."""
        newest = self._generation(self._fleet.current)
        said = [self._reports.of(worker.number).options for worker in newest]
        return next((options for options in said if options is not None), None)

    def overview(self, now: float) -> dict[str, Any]:
        """Return the workers, those that drain included; see `sockact.protocols.overview`."""
        rows = [
            self._row(worker, child, now)
            for worker in self._fleet.workers.values()
            if (child := self._children.get(worker.number)) is not None
        ]
        return {"generation": self._fleet.current, "requests": self._reports.requests, "workers": rows}

    def _row(self, worker: WorkerRecord, child: Child, now: float) -> dict[str, Any]:
        report, stage, age = self._reports.of(worker.number), worker.stage.value, now - worker.born
        return overview.worker(
            worker.number, worker.generation, child.pid, stage, age, report.counters, report.version
        )

    def _generation(self, number: int) -> list[WorkerRecord]:
        return [worker for worker in self._fleet.workers.values() if worker.generation == number]
