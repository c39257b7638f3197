"""The rules of `sockact check` that explain what clients have lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sockact.check import examine
from sockact.check.targets import select
from sockact.errors import SockactError
from sockact.probe.outcome import Outcome
from sockact.prove.reasons import LONG
from sockact.systemd.systemctl import Described

_CUT = (
    *("kill-signal-cuts", "stop-timeout-below-drain", "kill-mode-control-group", "stop-by-signal"),
    *("reload-kills", "main-process-leaves", "shell-without-exec", "wrapper-stays", "memory-ends-service"),
)
_WAIT = (
    *("readiness-not-told", "reload-by-signal", "reload-kills", "reload-cannot-fail", "restart-not-told"),
    *("exit-type-waits", "watchdog-during-start", "no-descriptor-store", "listener-becomes-blocking"),
)
RULES: Mapping[str, Sequence[str]] = {
    Outcome.REFUSED: (
        *("passed-sockets-ignored", "failures-close-socket", "trigger-limit-low", "socket-not-required"),
        *("reload-kills", "private-tmp-keeps-port", "socket-in-runtime-directory"),
    ),
    Outcome.RESET: (*_CUT, "reuse-port", "queue-flushed"),
    Outcome.EMPTY: _CUT,
    Outcome.WRONG: _CUT,
    Outcome.TIMEOUT: (*_WAIT, "backlog-low"),
    "reconnects": ("no-descriptor-store", "store-not-told", "runtime-directory-not-kept", *_CUT),
    "stall": _WAIT,
}
"""The rules that may explain an outcome of requests, closed connections, or a long stall."""


def rules(report: Mapping[str, Any], service: Described) -> list[str]:
    """Return a line for each finding in the service's units that explains a loss."""
    wanted = {name for kind in _kinds(report) for name in RULES.get(kind, ())}
    if not wanted:
        return []
    try:
        units = select([service.unit], os.environ, user=service.scope == "--user", here=True, version=None)
        found = examine.findings(units)
    except SockactError:
        return []  # a transient unit, for example, is in no file that could be checked
    lines = [
        f"check: {each.rule.name}: {each.complaint.text} ({each.unit.name})"
        for each in found
        if each.rule.name in wanted
    ]
    return [*lines, f"`sockact check {service.unit}` shows the lines"] if lines else []


def _kinds(report: Mapping[str, Any]) -> Iterator[str]:
    total = report["total"]
    yield from (name for name, count in total["outcomes"].items() if count)
    if total["reconnects"]:
        yield "reconnects"
    if (total["stall"] or 0) >= LONG:
        yield "stall"
