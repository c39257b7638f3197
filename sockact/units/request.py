"""The request of a command line, completed by an existing service and by what the machine has."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.config import settings
from sockact.config.values import flag
from sockact.errors import UsageError
from sockact.units import addresses, carrying, environment, manager
from sockact.units.carried_over import VARIABLE, CarriedOver
from sockact.units.wanted import DYNAMIC, FITS_ALL, Wanted

_GENERAL = ("app", "application", "asgi", "main", "wsgi")
"""Names of modules that say nothing about the app: the folder's name does."""


def read(apps: Sequence[str], options: Mapping[str, Any]) -> tuple[Wanted, CarriedOver | None]:
    """Return what is asked for, and what was found in the existing service; an option wins over it.

    Raises:
        UsageError: an option has no valid form, or the existing service cannot be read.
    """
    found = CarriedOver()
    if options["source"]:
        name, found = carrying.read(options["source"], os.getcwd())
        options = {**options, "name": options["name"] or name}
    wanted = _wanted(apps or [found.app], options, found)
    return wanted, found if options["source"] else None


def _wanted(apps: Sequence[str], options: Mapping[str, Any], found: CarriedOver) -> Wanted:
    given = found.given | {name: options[name] for name in settings.FIELDS if options[name] is not None}
    # The folder in an image is the image's own.
    folder = os.path.abspath(
        given.pop("chdir", "") or found.folder or ("/" if options["quadlet"] else os.getcwd())
    )
    for name, value in given.items():
        if isinstance(settings.FIELDS[name].default, bool) and isinstance(value, str):
            given[name] = flag(value)
    if "env_file" in given:
        given["env_file"] = [_absolute(path) for path in given["env_file"]]
    template = options["template"] or (options["source"] or "").endswith("@.service")
    listen = given.pop("listen", None) or found.listen or _default(found, template)
    certificate = options["tls"] or (found.certificate and (found.certificate, found.key))
    return Wanted(
        name=options["name"] or _name(apps[0], folder),
        apps=apps,
        addresses=[addresses.parse(each, template=template) for each in listen],
        venv=os.path.abspath(options["venv"] or found.venv or environment.find_venv(folder)),
        folder=folder,
        given=given,
        user=options["user"] or found.user or DYNAMIC,
        state=options["state"],
        version=options["systemd"] or manager.systemd_version() or FITS_ALL,
        template=template,
        certificate=(os.path.abspath(certificate[0]), os.path.abspath(certificate[1]))
        if certificate
        else None,
        releases=[os.path.abspath(each) for each in options["deploy_path"]],
        socket_group=options["socket_group"] or found.socket_group,
        environment=[*found.environment, *map(_variable, options["env"])],
        carried=found.options,
        image=options["quadlet"] or "",
        of_user=options["manager"] == "user",
        hardened=options["hardened"],
    )


def _default(found: CarriedOver, template: bool) -> list[str]:
    if unknown := [each for each in found.left if VARIABLE in each]:
        raise UsageError(f"expected --listen ADDRESS: {'; '.join(unknown)}")
    return ["127.0.0.1:%i" if template else "127.0.0.1:8000"]


def _name(app: str, folder: str) -> str:
    module = app.rpartition("=")[2].partition(":")[0].partition(".")[0]
    chosen = os.path.basename(folder) if module in _GENERAL else module
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", chosen).strip("-.") or "app"


def _absolute(path: str) -> str:
    """Return the path of an environment file; with a `-` before it the file may be missing."""
    return "-" + os.path.abspath(path[1:]) if path.startswith("-") else os.path.abspath(path)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--env {text}: expected NAME=VALUE")
    return name, value
