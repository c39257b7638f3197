"""The causes for which workers have ended, as they are counted."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sockact.process.ledger import StatisticsLedger
from sockact.protocols.notify import Notifier
from sockact.protocols.service_events import Cause
from sockact.supervisor import worker_ends
from sockact.supervisor.fleet.orders import Order
from sockact.supervisor.worker_ends import WorkerEnds, read_oom_kills


class Ends:
    """`WorkerEnds` with a ledger, a clock, and a number of kills for lack of memory."""

    def __init__(self) -> None:
        self.ledger = StatisticsLedger(Notifier())
        self.now = 0.0
        self.oom_kills = 5
        self.ends = WorkerEnds(self.ledger, lambda: self.now, lambda: self.oom_kills)

    def end(self, worker: int = 1, *, killed_by: int = 0, exit_status: int = 0) -> Cause:
        """End a worker, and return the only cause that was counted for it."""
        before = self.ledger.events
        child: Any = Mock(killed_by=killed_by, exit_status=exit_status)
        self.ends.ended(worker, child)
        after = self.ledger.events
        (found,) = [cause for cause in Cause if after.ends(cause) > before.ends(cause)]
        return found


def test_a_worker_that_the_kernel_kills_for_lack_of_memory_is_told_from_one_that_somebody_kills() -> None:
    ends = Ends()

    assert ends.end(killed_by=signal.SIGKILL) is Cause.SIGNAL
    ends.oom_kills += 1
    assert ends.end(killed_by=signal.SIGKILL) is Cause.OOM
    assert ends.end(killed_by=signal.SIGKILL) is Cause.SIGNAL
    ends.oom_kills += 1  # of another process of the service
    assert ends.end(killed_by=signal.SIGSEGV) is Cause.SIGNAL


@pytest.mark.parametrize(
    ("order", "cause"), [(Order.KILL_WITH_STACKS, Cause.WATCHDOG), (Order.KILL, Cause.TIMEOUT)]
)
def test_a_worker_that_is_killed_here_is_counted_by_the_reason(order: Order, cause: Cause) -> None:
    ends = Ends()
    ends.ends.told(1, Order.DRAIN)
    ends.ends.told(1, order)
    ends.oom_kills += 1

    assert ends.end(killed_by=signal.SIGKILL) is cause


@pytest.mark.parametrize("cause", [Cause.RECYCLED, Cause.MEMORY])
def test_a_worker_that_is_recycled_is_counted_when_it_has_drained(cause: Cause) -> None:
    ends = Ends()
    ends.ends.recycled(1, cause)
    ends.ends.told(1, Order.DRAIN)
    ends.now = 2.0

    assert ends.end() is cause
    assert ends.ledger.events.drains.count == 1
    assert ends.ledger.events.drains.seconds == 2.0


def test_a_worker_that_ends_without_an_order_has_failed() -> None:
    ends = Ends()

    assert ends.end(exit_status=1) is Cause.ERROR
    assert ends.end() is Cause.ERROR
    ends.ends.told(1, Order.DRAIN)
    assert ends.end(exit_status=1) is Cause.ERROR


def test_the_kernel_counts_its_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_ends, "CGROUPS", str(tmp_path))
    monkeypatch.setattr(worker_ends.unit_files, "cgroup_of", lambda: "/system.slice/app.service")
    group = tmp_path / "system.slice" / "app.service"
    group.mkdir(parents=True)

    assert read_oom_kills() == 0  # the kernel has no say over memory there
    (group / "memory.events").write_text("low 0\nhigh 3\nmax 4\noom 2\noom_kill 7\noom_group_kill 0\n")
    assert read_oom_kills() == 7
    (group / "memory.events").write_text("nonsense\n")
    assert read_oom_kills() == 0
