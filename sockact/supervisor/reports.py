"""The workers' reports of their activity, kept by the supervisor."""

from __future__ import annotations

from dataclasses import dataclass

from sockact.protocols.counters import Counters, total
from sockact.protocols.worker_messages import WorkerMessage


@dataclass(slots=True)
class Report:
    """The report of one worker.

    Attributes:
        counters: its counters; None before it has sent any.
        version: the version of its code.
        ready: whether it has been ready.
        idle: whether it has had nothing to do for as long as its `idle_exit`.
        stopping: whether it drains, on whatever order.
        options: the supervisor's settings, as its code has them; None before it has sent any.
    """

    counters: Counters | None = None
    version: str = ""
    ready: bool = False
    idle: bool = False
    stopping: bool = False
    options: str | None = None

    def hear(self, message: WorkerMessage) -> None:
        """Note the worker's message."""
        self.counters = message.counters or self.counters
        self.version = self.version if message.version is None else message.version
        self.ready = self.ready or message.ready
        self.idle = self.idle if message.idle is None else message.idle
        self.options = self.options if message.options is None else message.options
        self.stopping = self.stopping or message.stopping


class Reports:
    """The reports of all workers that have not ended."""

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}
        self._past_requests = 0

    def of(self, worker: int) -> Report:
        """Return the report of a worker; an empty one, if it has sent nothing."""
        return self._reports.get(worker) or Report()

    def hear(self, worker: int, message: WorkerMessage) -> bool:
        """Note a worker's message; return whether its counters have changed."""
        report = self._reports.setdefault(worker, Report())
        before = report.counters
        report.hear(message)
        return report.counters != before

    def forget(self, worker: int) -> None:
        """Forget a worker that has ended, but for the number of requests that it has answered."""
        report = self._reports.pop(worker, Report())
        self._past_requests += (report.counters or Counters()).requests

    @property
    def counters(self) -> Counters:
        """The sums of all workers' counters."""
        return total(report.counters for report in self._reports.values() if report.counters)

    @property
    def requests(self) -> int:
        """The number of requests that all workers have begun to answer, ended workers included."""
        return self._past_requests + self.counters.requests
