"""What workers have said of their work: the hearing end of `Reporter`, in a supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sockact.protocols.assignments import IDLE, OPTIONS, VERSION
from sockact.protocols.counters import Counters, read, total


@dataclass(slots=True)
class Report:
    """What one worker has said.

    Attributes:
        counters: what it is doing, in numbers; None before it has said so.
        version: what its code calls itself.
        idle: whether it has had nothing to do for as long as its `idle_exit`.
        stopping: whether it drains, told by whomever.
        options: the settings that its code would have a supervisor go by; None before it has said so.
    """

    counters: Counters | None = None
    version: str = ""
    idle: bool = False
    stopping: bool = False
    options: str | None = None

    def hear(self, said: Mapping[str, str]) -> None:
        """Take notice of a notification."""
        self.counters = read(said) or self.counters
        self.version = said.get(VERSION, self.version)
        self.idle = said[IDLE] == "1" if IDLE in said else self.idle
        self.options = said.get(OPTIONS, self.options)
        self.stopping = self.stopping or said.get("STOPPING") == "1"


class Reports:
    """The reports of all workers that have not ended."""

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}
        self._past_requests = 0

    def of(self, worker: int) -> Report:
        """Return the report of a worker; an empty one, if it has said nothing."""
        return self._reports.get(worker) or Report()

    def hear(self, worker: int, said: Mapping[str, str]) -> bool:
        """Take notice of what a worker says; return whether its counters have changed."""
        report = self._reports.setdefault(worker, Report())
        before = report.counters
        report.hear(said)
        return report.counters != before

    def forget(self, worker: int) -> None:
        """Forget one that has ended, but for the requests that it has answered."""
        report = self._reports.pop(worker, Report())
        self._past_requests += (report.counters or Counters()).requests

    @property
    def counters(self) -> Counters:
        """What all workers are doing, in numbers."""
        return total(report.counters for report in self._reports.values() if report.counters)

    @property
    def requests(self) -> int:
        """How many requests all workers have begun to answer, those that have ended included."""
        return self._past_requests + self.counters.requests
