"""`sockact prove`: reloads a service under load, and says what that has cost.

Exit status: 0 every request was served, 1 some were lost, 69 the service does not run or answer, or the
reload failed.
"""

from __future__ import annotations

import argparse

from sockact.cli import arguments, explained, loading
from sockact.errors import UsageError
from sockact.probe.report import verdict
from sockact.probe.run import RunPlan
from sockact.prove import reasons, target
from sockact.prove.verbs import Verb, actions
from sockact.systemd import systemctl


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.add_argument("unit", metavar="UNIT", help="a service of systemd: app.service")
    command.add_argument("--restart", action="store_true", help="also restart it")
    command.add_argument("--stop", action="store_true", help="also stop it, and start it again")
    command.add_argument("--url", help="where it answers, such as a proxy before it [found by systemd]")
    command.add_argument("--path", help="of the requests [/]")
    command.add_argument("--user", action="store_true", help="ask the user's manager, not the system's")
    loading.add_load(command)


def run(
    unit: str,
    url: str | None,
    path: str | None,
    load: list[str] | None,
    limit: str,
    around: str,
    host: str | None,
    html: str | None,
    *,
    restart: bool,
    stop: bool,
    user: bool,
    json: bool,
) -> int:
    """Reload a service under a gentle load, and count the requests that this costs."""
    loading.require_writable(html)
    verbs = [Verb.RELOAD, *([Verb.RESTART] if restart else ()), *([Verb.STOP] if stop else ())]
    specs, patience = loading.specs(load), arguments.seconds("--limit", limit)
    service = systemctl.describe(unit, "CanReload", "ControlGroup", user=user)
    steps = actions(verbs, service)
    if url is None:
        found = target.find(service, loading.url_path(path), host, patience)
    elif path is None:
        found = target.given(loading.with_host(loading.address_of(url), host), url, patience)
    else:
        raise UsageError(f"--path={path}: with --url it is a part of that")
    # Its worker may have answered before systemd knew that it was ready: a reload would be a part of the
    # start.
    systemctl.start(service.unit, service.scope)
    plan = RunPlan(
        found.address, specs, limit=patience, actions=steps, around=arguments.seconds("--around", around)
    )
    measured = loading.measure(found.url, plan)
    why = [*reasons.explain(measured.report, service), *explained.rules(measured.report, service)]
    title, *lines = verdict(measured.report)
    heading = f"{service.unit}, {found.url}: {title}"
    loading.show(
        [heading, *lines, *why], measured, as_json=json, more={"unit": service.unit, "reasons": why}
    )
    loading.write_page(measured, html, service.unit)
    return loading.exit_status(measured.report)
