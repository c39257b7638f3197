"""Only a service that has proved itself tells systemd that it has recovered, where that matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sockact.lifecycle import recovery
from sockact.lifecycle.recovery import Recovery
from sockact.protocols.worker_messages import Reporter
from sockact.systemd import unit_files

pytestmark = pytest.mark.usefixtures("soon")


class Told(Reporter):
    """A notifier without a manager, that notes what it was to tell."""

    def __init__(self, *, systemd: bool = True) -> None:
        super().__init__()
        self.manager_is_systemd = systemd
        self.resets = 0

    def restart_reset(self) -> None:
        self.resets += 1


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PROVEN", 0.0)
    monkeypatch.setattr(unit_files, "restarts_slower", lambda _: True)


def resets(told: Told, meanwhile: Callable[[Recovery], None] = lambda _: None) -> int:
    async def main() -> None:
        begun = Recovery(told, probation=0.0)
        begun.begin()
        meanwhile(begun)
        for _ in range(3):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    return told.resets


def test_a_service_that_lives_has_recovered() -> None:
    assert resets(Told()) == 1


def test_one_that_stops_before_has_not() -> None:
    assert resets(Told(), Recovery.end) == 0


def test_nobody_else_than_systemd_is_told() -> None:
    assert resets(Told(systemd=False)) == 0


def test_where_the_count_decides_nothing_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_files, "restarts_slower", lambda _: False)

    assert resets(Told()) == 0


def test_the_probation_counts_if_it_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PROVEN", 10.0)

    assert (Recovery(Told(), 1.0)._seconds, Recovery(Told(), 60.0)._seconds) == (10.0, 60.0)
