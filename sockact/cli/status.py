"""`sockact status`: shows a service and its workers."""

from __future__ import annotations

import argparse
import json
import os

from sockact.cli import prometheus, service_call, unit_drift
from sockact.cli.arguments import STATUS_TIMEOUT, add_service
from sockact.errors import UnavailableError
from sockact.protocols import overview
from sockact.sockets import unix_path
from sockact.systemd import systemctl
from sockact.untrusted.text import visible


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.set_defaults(form="text")
    add_service(command)
    form = command.add_mutually_exclusive_group()
    programs = "for programs; see `sockact.protocols.overview`"
    form.add_argument("--json", action="store_const", dest="form", const="json", help=programs)
    prometheus = "for Prometheus; see `sockact.cli.prometheus`"
    form.add_argument(
        "--prometheus", action="store_const", dest="form", const="prometheus", help=prometheus
    )


def run(unit: str | None, control: str | None, timeout: str | None, *, user: bool, form: str) -> int:
    """Show a service and its workers: a unit's, or the one to which this process belongs."""
    located = None if unit is None else systemctl.locate(unit, os.environ, user=user)
    environ = os.environ if located is None else located.environ
    answer = service_call.ask("status", environ, control, timeout or STATUS_TIMEOUT)
    if not answer["ok"]:
        raise UnavailableError(answer["text"])
    service = answer["service"]
    if form == "json":
        print(json.dumps(service).replace("\x7f", r"\u007f"))  # all else is printable ASCII
    elif form == "prometheus":
        print(prometheus.render(service))
    else:
        known = located and unit_drift.differences(located.unit, service["sockets"], located.scope)
        differences = [*(known or ()), *unix_path.unreachable(service["sockets"], service["pid"])]
        print(overview.render(service), *map(visible, differences), sep="\n")
    return 0
