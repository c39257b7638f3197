"""`sockact doctor`: looks for troubles of this machine and of a service on it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any

from sockact.check import examine, targets
from sockact.cli import service_call, unit_drift
from sockact.doctor import facts as collected
from sockact.doctor import visit
from sockact.doctor.facts import Facts
from sockact.errors import SockactError, UsageError
from sockact.sockets import unix_path
from sockact.systemd import systemctl

TIMEOUT = "5s"
"""The time that the service may take to answer; a busy one answers within a second."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.add_argument("unit", metavar="UNIT", nargs="?", help="a service of systemd: app.service")
    command.add_argument("--user", action="store_true", help="a service of the user's manager")
    command.add_argument("--json", action="store_true", help="for programs")


def run(unit: str | None, *, user: bool, json: bool) -> int:
    """Look for troubles of this machine, and of a service; exit status 1 if something needs a hand."""
    facts, findings = collected.of_machine(), []
    if unit is not None:
        chosen = targets.select([unit], os.environ, user=user, here=True, version=None)
        services = [pair for pair in chosen if pair[1].kind == "service"]
        if not services:
            raise UsageError(f"{unit}: there is no service for it: expected the name of a service")
        findings = examine.findings(chosen)
        scope, service = services[0]
        asked = "--user" if user else "--system"
        facts = replace(facts, **collected.of_service(service, scope, asked))
        if service.is_sockact and facts.runs:
            facts = replace(facts, **_answer(facts, user=user))
    groups = visit.remarks(facts, findings)
    print(visit.as_json(groups) if json else visit.page(groups, unit or "this machine"))
    return int(visit.has_trouble(groups))


def _answer(facts: Facts, *, user: bool) -> dict[str, Any]:
    """Return the facts that the service itself tells."""
    try:
        located = systemctl.locate(facts.name, os.environ, user=user)
        answer = service_call.ask("status", located.environ, None, TIMEOUT)
    except SockactError as error:
        return {"silence": str(error)}
    if not answer["ok"]:
        return {"silence": answer["text"]}
    overview = answer["service"]
    pids = [overview["pid"], *(each["pid"] for each in overview["workers"])]
    drift = unit_drift.differences(facts.name, overview["sockets"], located.scope)
    return {
        "overview": overview,
        "differences": [*drift, *unix_path.unreachable(overview["sockets"], overview["pid"])],
        "descriptors": collected.descriptors_of(pids),
    }
