"""Load on a machine's service: the probe, run from outside in the machine's network."""

from __future__ import annotations

from typing import Any

from sockact.probe.background import BackgroundProbe
from tests.support.kinds import ALL_KINDS
from tests.support.machine.machine import Machine

MANY_FILES = ("prlimit", "--nofile=4096")
"""Each client takes a descriptor, and 1,024 of them are the usual limit."""


def load(machine: Machine, *specs: str, port: int = 8000) -> BackgroundProbe:
    """Run clients, all of which have been served once when the `with` block begins."""
    prefix = machine.network(*MANY_FILES)
    return BackgroundProbe(f"http://127.0.0.1:{port}", specs or ALL_KINDS, prefix)


def assert_nothing_lost(report: dict[str, Any]) -> None:
    """Fail with what was lost; also when there was nothing to lose."""
    assert_lost_at_most(0, report)


def assert_lost_at_most(most: int, report: dict[str, Any]) -> None:
    """Fail with what was lost if it is more than was in flight when a worker died."""
    lost = {name: each["outcomes"] for name, each in report["loads"].items() if each["lost"]}
    assert report["lost"] <= most, (lost, report["failures"])
    for name, each in report["loads"].items():
        assert each["requests"] > 0, f"{name} has sent nothing"
