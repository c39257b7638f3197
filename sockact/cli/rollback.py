"""`sockact rollback`: lets the link to the release lead to the one before, and reloads the service."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from sockact.cli import service_call
from sockact.cli.arguments import RELOAD_TIMEOUT, add_asked
from sockact.cli.releases import Releases
from sockact.errors import UnavailableError, UsageError
from sockact.untrusted.text import visible

if TYPE_CHECKING:
    from sockact.systemd.systemctl import Located

_CHDIR = re.compile(r"(?:--chdir[= ]|SOCKACT_CHDIR=)(\S+)")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.add_argument("unit", metavar="UNIT", help="a service of systemd: app.service")
    add_asked(command)
    command.add_argument("--to", metavar="RELEASE", help="the release to go back to, by its folder's name")
    command.add_argument("--link", metavar="PATH", help="the link to the release [--chdir of the unit]")


def run(
    unit: str, control: str | None, timeout: str | None, to: str | None, link: str | None, *, user: bool
) -> int:
    """Go back to the release before: switch the link to it, reload, and switch back if that is refused."""
    from sockact.systemd import systemctl

    located = systemctl.locate(unit, os.environ, user=user)
    releases = Releases(_link_of(unit, user=user) if link is None else link)
    try:
        now = releases.target()
        before = releases.before(to)
        releases.switch(now, before)
        return _reload(located, control, timeout or RELOAD_TIMEOUT, releases, (now, before))
    finally:
        releases.close()


def _reload(
    located: Located, control: str | None, timeout: str, releases: Releases, targets: tuple[str, str]
) -> int:
    now, before = targets
    try:
        answer = service_call.ask_unit("reload", located, control, timeout)
    except UnavailableError as error:
        raise UnavailableError(f"{releases.link} leads to {before} now, but: {error}") from error
    if answer["ok"]:
        print(visible(f"{releases.link} leads to {before}, not to {now}: {answer['text']}"))
        return 0
    releases.switch(before, now)
    text = f"{answer['text']}; {releases.link} leads to {now} again, not to {before}"
    print(visible(text), file=sys.stderr)
    return 1


def _link_of(unit: str, *, user: bool) -> str:
    """Return the folder in which a service runs, by its unit: the process itself is not asked.

    Only the unit is surely of whoever may start services: what a process says of itself, root does not
    follow.
    """
    from sockact.systemd import systemctl

    found = systemctl.describe(unit, "ExecStart", "Environment", user=user).properties
    given = _CHDIR.findall(found["ExecStart"]) or _CHDIR.findall(found["Environment"])
    if not given:
        raise UsageError(f"{unit} has no --chdir: expected --link, the path of the link to the release")
    return str(given[-1])  # the last one holds
