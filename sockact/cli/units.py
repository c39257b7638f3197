"""`sockact units`: writes the units for an app."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from sockact.cli.app_arguments import add_apps, find_apps, target_of
from sockact.cli.arguments import add_settings
from sockact.errors import UnitsError, UsageError
from sockact.units import environment, installing, manager, request, writing
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
    add = group.add_argument
    add(
        "--from",
        dest="source",
        metavar="WHAT",
        help="a unit, Procfile or command of gunicorn, uvicorn, ...",
    )
    add("--name", help="the name of the service [from the app's module, or its folder]")
    add("--user", help="a user, or dynamic: one for the time of the service [dynamic]")
    add("--state", action="store_true", help="the app keeps data, in /var/lib/NAME")
    add(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the app; repeatable"
    )
    add(
        "--venv",
        metavar="PATH",
        help="the virtual environment [in the app's folder, or the one that runs this]",
    )
    add("--socket-group", metavar="GROUP", default="", help="who may connect to Unix sockets [everybody]")
    add(
        "--tls",
        nargs=2,
        metavar=("CERTIFICATE", "KEY"),
        help="PEM files that only root has to be able to read",
    )
    less = "a smaller sandbox, for an app that opens no connections and runs nothing of its own making"
    add("--hardened", action="store_true", help=less)
    deploys = "reload when this release, or link to one, has changed; repeatable"
    add("--deploy-path", action="append", default=[], metavar="PATH", help=deploys)
    add("--template", action="store_true", help="for several instances, with %%i in --listen")
    add("--manager", choices=["system", "user"], default="system", help="whose manager runs it [system]")
    add("--quadlet", metavar="IMAGE", help="for podman: a container of an image with the app and sockact")
    add("--systemd", type=int, metavar="VERSION", help="the systemd that they are for [this one]")


def _add_output(group: Any) -> None:
    where = group.add_mutually_exclusive_group()
    where.add_argument("--print", action="store_true", help="print them [the default]")
    where.add_argument("--output", metavar="FOLDER", help="write them to a folder")
    where.add_argument(
        "--install", action="store_true", help="write them where systemd finds them, and enable them"
    )
    group.add_argument("--now", action="store_true", help="with --install: start them, too")
    group.add_argument("--force", action="store_true", help="replace files that differ")


def run(app: Sequence[str], **options: Any) -> int:
    """Write a socket unit and a service for an app, or more where they are asked for."""
    if options["now"] and not options["install"]:
        raise UsageError("--now: expected --install as well")
    wanted, found = request.read(_apps(app, options), options)
    texts = writing.files(wanted)
    for line in found.report() if found else ():
        _say(line)
    _look_around(wanted, install=options["install"])
    folder = options["output"] or installing.folder_of(wanted)
    if not (options["install"] or options["output"]):
        for each in texts:
            print(f"# {installing.path_of(each, folder)}\n{each.text()}")
        return 0
    if options["install"]:
        manager.of(wanted).require_running()
    differing = _write(wanted, texts, folder, force=options["force"])
    if options["install"]:
        _activate(wanted, differing, now=options["now"])
    return 0


def _apps(words: Sequence[str], options: dict[str, Any]) -> list[str]:
    """Return the apps that are meant; `factory` is added to the options if one is a factory."""
    if options["source"] and not words:
        return []
    given = {name: value for name, value in options.items() if value is not None}
    found = find_apps(words, given)
    target_of(found)  # refuses names that are given twice
    options["factory"] = given.get("factory")
    if found != list(words):
        _say(f"found {' '.join(found)}")
    return found


def _look_around(wanted: Wanted, *, install: bool) -> None:
    """Refuse what the service could not reach, and say what is missing here: maybe it is elsewhere."""
    if wanted.image:
        return
    if not wanted.of_user:
        environment.require_reachable(wanted)
    found = environment.missing(wanted)
    if install:
        environment.require_user(wanted)
        if found:
            raise UnitsError(f"{', '.join(found)}: not there, though the units name it")
    for path in found:
        _say(f"{path} is not on this machine")


def _write(wanted: Wanted, texts: Sequence[UnitText], folder: str, *, force: bool) -> list[str]:
    """Write the files, unless others are there; return the names of those that are replaced."""
    for line in manager.of(wanted).verify(texts):
        _say(line)
    changes = installing.changes(texts, folder)
    differing = [each for each in changes if each.state == "changed"]
    for each in differing:
        print("\n".join(visible_lines(each.diff().rstrip("\n"))))
    if differing and not force:
        names = ", ".join(str(each.path) for each in differing)
        raise UnitsError(
            f"{names}: there with another content, as shown; nothing is written without --force"
        )
    installing.write(changes)
    for each in changes:
        print(visible(f"{each.path}: {'unchanged' if each.state == 'unchanged' else 'written'}"))
    return [each.path.name for each in differing]


def _activate(wanted: Wanted, differing: Sequence[str], *, now: bool) -> None:
    """Enable the units, and start them where that is asked for."""
    systemd = manager.of(wanted)
    sockets = [wanted.socket(group) for group in wanted.groups]
    if wanted.template:
        print(
            f"The instances are yours to start: systemctl enable --now {sockets[0].replace('@', '@8001')}"
        )
        return
    triggers = [*sockets, *([f"{wanted.name}-deploy.path"] if wanted.releases else [])]
    systemd.enable(triggers)
    if not now:
        print(f"The next step: systemctl {systemd.option}start {' '.join(triggers)}")
        return
    for line in systemd.start(triggers, wanted.service, changed=bool(differing)):
        print(visible(line))
    for name in differing:
        if name in sockets:
            print(
                f"{name} has changed: `systemctl restart {name}` closes and opens it, which clients notice"
            )


def _say(text: str) -> None:
    print(visible(f"sockact: {text}"), file=sys.stderr)
