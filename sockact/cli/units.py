"""`sockact units`: writes the units for an app."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.apps import loader
from sockact.cli.arguments import add_apps, add_settings, target_of
from sockact.errors import UnitsError, UsageError
from sockact.units import environment, installing, request, writing
from sockact.units.unit_text import UnitText
from sockact.units.wanted import Wanted
from sockact.untrusted.text import visible, visible_lines


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_apps(command, "*")
    _add_units(command.add_argument_group("The units"))
    _add_output(command.add_argument_group("Where they go"))
    add_settings(command)


def _add_units(group: Any) -> None:
    existing = (
        "an existing unit, Procfile or command line of gunicorn, uvicorn, hypercorn, granian or daphne"
    )
    group.add_argument("--from", dest="source", metavar="WHAT", help=existing)
    group.add_argument("--name", help="the name of the service [from the app's module, or its folder]")
    group.add_argument("--user", help="a user, or dynamic: one for the time of the service [dynamic]")
    group.add_argument("--state", action="store_true", help="the app keeps data, in /var/lib/NAME")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the app; repeatable"
    )
    group.add_argument(
        "--venv", metavar="PATH", help="the virtual environment [in the app's folder, or this]"
    )
    group.add_argument(
        "--socket-group", metavar="GROUP", default="", help="who may connect to Unix sockets"
    )
    group.add_argument(
        "--tls",
        nargs=2,
        metavar=("CERTIFICATE", "KEY"),
        help="PEM files, which only root has to be able to read",
    )
    deploys = "reload when this release, or link to one, has changed; repeatable"
    group.add_argument("--deploy-path", action="append", default=[], metavar="PATH", help=deploys)
    group.add_argument(
        "--template", action="store_true", help="for several instances, with %%i in --listen"
    )
    group.add_argument(
        "--quadlet", metavar="IMAGE", help="for podman: a container of an image with the app"
    )
    group.add_argument(
        "--systemd", type=int, metavar="VERSION", help="the systemd that they are for [this one]"
    )


def _add_output(group: Any) -> None:
    where = group.add_mutually_exclusive_group()
    where.add_argument("--print", action="store_true", help="print them [the default]")
    where.add_argument("--output", metavar="FOLDER", help="write them to a folder")
    where.add_argument(
        "--install", action="store_true", help=f"write them to {installing.SYSTEM}, and enable them"
    )
    group.add_argument("--now", action="store_true", help="with --install: start them, too")
    group.add_argument("--force", action="store_true", help="replace files that differ")


def run(app: Sequence[str], **options: Any) -> int:
    """Write a socket unit and a service for an app, or more where they are asked for."""
    if options["now"] and not options["install"]:
        raise UsageError("--now: expected --install as well")
    _require_apps(app)
    wanted, found = request.read(app, options)
    texts = writing.files(wanted)
    for line in found.report() if found else ():
        _say(line)
    if not wanted.image:
        environment.require_reachable(wanted)
        _require_present(wanted, options)
    if options["install"] or options["output"]:
        return _write(wanted, texts, options)
    for each in texts:
        print(f"# {installing.path_of(each, installing.SYSTEM)}\n{each.text()}")
    return 0


def _require_apps(apps: Sequence[str]) -> None:
    if apps:
        target = target_of(apps)
        for reference in target.values() if isinstance(target, dict) else apps:
            loader.parts(reference)


def _require_present(wanted: Wanted, options: Mapping[str, Any]) -> None:
    """Say which paths are missing here; to install units that name them makes no sense."""
    found = environment.missing(wanted)
    if found and options["install"]:
        raise UnitsError(f"{', '.join(found)}: not there, though the units name it")
    for path in found:
        _say(f"{path} is not on this machine")


def _write(wanted: Wanted, texts: Sequence[UnitText], options: Mapping[str, Any]) -> int:
    for line in installing.verify(texts):
        _say(line)
    changes = installing.changes(texts, options["output"] or installing.SYSTEM)
    differing = [each for each in changes if each.state == "changed"]
    for each in differing:
        print("\n".join(visible_lines(each.diff().rstrip("\n"))))
    if differing and not options["force"]:
        names = ", ".join(str(each.path) for each in differing)
        raise UnitsError(
            f"{names}: there with another content, as shown; nothing is written without --force"
        )
    installing.write(changes)
    for each in changes:
        print(visible(f"{each.path}: {'written' if each.state != 'unchanged' else 'unchanged'}"))
    if options["install"]:
        _activate(wanted, [each.path.name for each in differing], now=options["now"])
    return 0


def _activate(wanted: Wanted, differing: Sequence[str], *, now: bool) -> None:
    """Enable the units, and start them where that is asked for."""
    sockets = [wanted.socket(group) for group in wanted.groups]
    if wanted.template:
        print(
            f"The instances are yours to start: systemctl enable --now {sockets[0].replace('@', '@8001')}"
        )
        return
    triggers = [*sockets, *([f"{wanted.name}-deploy.path"] if wanted.releases else [])]
    installing.enable(triggers)
    if not now:
        print(f"The next step: systemctl start {' '.join(triggers)}")
        return
    for line in installing.start(triggers, wanted.service, bool(differing)):
        print(visible(line))
    for name in differing:
        if name in sockets:
            print(
                f"{name} has changed: `systemctl restart {name}` closes and opens it, which clients notice"
            )


def _say(text: str) -> None:
    print(visible(f"sockact: {text}"), file=sys.stderr)
