"""`sockact probe`: loads a service, repeats no request, and counts those that are lost.

Exit status: 0 every request was served, 1 some were lost, 69 the service did not answer every client at
first, or a command failed.
"""

from __future__ import annotations

import argparse

from sockact.cli import arguments, loading
from sockact.errors import UsageError
from sockact.probe.action import RunAction
from sockact.probe.report import table, verdict
from sockact.probe.run import RunPlan


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.add_argument("url", metavar="URL", help="http[s]://HOST[:PORT][/PATH] or unix:/PATH/OF/SOCKET")
    command.add_argument("--duration", metavar="TIME", help="of the load, without --during [10s]")
    during = "a line of shell to run under load; several, one after another"
    command.add_argument("--during", metavar="COMMAND", action="append", default=[], help=during)
    command.add_argument(
        "--this-is-mine", action="store_true", help="load another host: it is yours, or you may do it"
    )
    loading.add_load(command)


def run(
    url: str,
    duration: str | None,
    during: list[str],
    load: list[str] | None,
    limit: str,
    around: str,
    host: str | None,
    html: str | None,
    *,
    this_is_mine: bool,
    json: bool,
) -> int:
    """Load a service, repeat no request, and count those that are lost."""
    if during and duration is not None:
        raise UsageError(f"--duration={duration}: with --during the commands tell it, and --around")
    loading.require_writable(html)
    plan = RunPlan(
        address=loading.with_host(loading.address_of(url, this_is_mine=this_is_mine), host),
        specs=loading.specs(load),
        duration=None if during else arguments.seconds("--duration", duration or "10s"),
        limit=arguments.seconds("--limit", limit),
        actions=tuple(map(RunAction.of_shell, during)),
        around=arguments.seconds("--around", around),
    )
    measured = loading.measure(url, plan)
    lines = table(measured.report).splitlines()
    if measured.report["started"] is not None:
        lines += verdict(measured.report)[1:]  # the table ends with the title
    loading.show(lines, measured, as_json=json, more={})
    loading.write_page(measured, html)
    return loading.exit_status(measured.report)
