"""`sockact status`: shows a service and its workers, or all services."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.cli import prometheus, service_call, unit_drift
from sockact.cli.arguments import STATUS_TIMEOUT, add_service
from sockact.errors import UnavailableError, UsageError
from sockact.protocols import control_address, overview
from sockact.sockets import unix_path
from sockact.systemd import systemctl
from sockact.systemd.systemctl import Located
from sockact.untrusted.text import visible


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.set_defaults(form="text")
    add_service(command)
    form = command.add_mutually_exclusive_group()
    programs = "for programs; see `sockact.protocols.overview`"
    form.add_argument("--json", action="store_const", dest="form", const="json", help=programs)
    names = "for Prometheus; see `sockact.cli.prometheus`"
    form.add_argument("--prometheus", action="store_const", dest="form", const="prometheus", help=names)
    live = "show it anew each second, with rates, until Ctrl-C"
    form.add_argument("--watch", action="store_const", dest="form", const="watch", help=live)


def run(unit: str | None, control: str | None, timeout: str | None, *, user: bool, form: str) -> int:
    """Show a service and its workers: a unit's, the one of this process, or else all of this machine."""
    if unit is None and control is None and not _named(os.environ):
        return _show_all(timeout or STATUS_TIMEOUT, form, user=user)
    located = None if unit is None else systemctl.locate(unit, os.environ, user=user)
    if form == "watch":
        from sockact.cli import status_watch

        return status_watch.watch(lambda: _asked(located, control, timeout or STATUS_TIMEOUT))
    service = _asked(located, control, timeout or STATUS_TIMEOUT)
    if form == "json":
        print(json.dumps(service).replace("\x7f", r"\u007f"))  # all else is printable ASCII
    elif form == "prometheus":
        print(prometheus.render(service))
    else:
        print(overview.render(service), *map(visible, _remarks(service, located)), sep="\n")
    return 0


def _named(environ: Mapping[str, str]) -> bool:
    """Return whether the environment names a service, as in its own `ExecReload=`."""
    return any(environ.get(name) for name in ("MAINPID", "RUNTIME_DIRECTORY", "SOCKACT_CONTROL"))


def _asked(located: Located | None, control: str | None, timeout: str) -> Mapping[str, Any]:
    """Return the overview of a service; raises UnavailableError if there is none."""
    if located is None:
        answer = service_call.ask("status", os.environ, control, timeout)
    else:
        answer = service_call.ask_unit("status", located, control, timeout)
    if not answer["ok"]:
        raise UnavailableError(answer["text"])
    service: Mapping[str, Any] = answer["service"]
    return service


def _remarks(service: Mapping[str, Any], located: Located | None) -> list[str]:
    """Return lines on differences between the service and what systemd knows of it."""
    remarks = [*unix_path.unreachable(service["sockets"], service["pid"])]
    if located is None:
        return remarks
    main = located.environ["MAINPID"]
    if str(service["pid"]) != main:
        remarks.append(f"systemd has {main} as the main process of {located.unit}: a wrapper, or a fork")
    return [*unit_drift.differences(located.unit, service["sockets"], located.scope), *remarks]


def _show_all(timeout: str, form: str, *, user: bool) -> int:
    if form != "text":
        raise UsageError(f"--{form}: expected the UNIT to show")
    rows = [_row(each, None, timeout) for each in _services(user=user)]
    if not user:
        rows += _rows_of_others([int(main) for _, main, _ in rows], timeout)
    if not rows:
        print("no service of sockact runs here")
        return 0
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for unit, main, line in rows:
        print(visible(f"{unit:{widths[0]}}  {main:>{widths[1]}}  {line}"))
    return 0


def _rows_of_others(known: Sequence[int], timeout: str) -> list[tuple[str, str, str]]:
    """Return the rows of services that systemd does not run.

    All of them together may take as long as one: every user of the machine can make any number of sockets
    of such names, and answer on none.
    """
    found = control_address.elsewhere(known)
    others = {pid: where for pid, where in found.items() if os.path.exists(f"/proc/{pid}")}
    limit = service_call.patience(timeout)
    share = timeout if limit is None else f"{limit / max(len(others), 1):.3f}"
    rows = [
        _row(Located("-", "--system", {"MAINPID": f"{pid}"}), where, share) for pid, where in others.items()
    ]
    return [each for each in rows if os.path.exists(f"/proc/{each[1]}")]  # others have ended meanwhile


def _services(*, user: bool) -> list[Located]:
    """Return the services of sockact that systemd runs."""
    scopes = ("--user",) if user else ("--system", "--user")
    found = [each for scope in scopes for each in systemctl.running(scope, os.environ)]
    return [each for each in found if control_address.exists(each.environ, int(each.environ["MAINPID"]))]


def _row(service: Located, control: str | None, timeout: str) -> tuple[str, str, str]:
    """Return the name, the main process and the status of a service."""
    try:
        found = _asked(service, control, timeout)
        line = f"{found['phase']}: {found['status']}"
    except UnavailableError as error:
        line = str(error)
    return service.unit, service.environ["MAINPID"], line
