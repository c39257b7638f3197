"""The pair for podman: a socket unit, and a container that systemd passes its sockets to.

podman's generator makes NAME.service of NAME.container. podman passes the sockets on to the first process
of the container, and systemd's notify socket as well.

Source: podman-systemd.unit(5).
"""

from __future__ import annotations

from collections.abc import Sequence

from sockact.config import settings
from sockact.errors import UsageError
from sockact.units import reasons, syntax
from sockact.units.service import start_seconds, stop_seconds
from sockact.units.unit_text import Group, UnitOption, UnitText
from sockact.units.wanted import Wanted

CONTROL = "/tmp/sockact.control"
"""The control socket, in the container's own /tmp."""


_HEAD = """{apps} in a container of {image}, which has sockact and the app. podman makes {name}.service
of this file.

  systemctl enable --now {name}.socket
  systemctl reload {name}     starts new code beside the old, where the container sees it: in a volume
  systemctl restart {name}    makes a new container, of a new image; new connections wait in the queue"""
_NOTIFY = "sockact in the container tells systemd when it is ready; else podman would, as soon as it runs."
_EXEC = "A container has no $RUNTIME_DIRECTORY: so the control socket has a path, for ExecReload=."
_READ_ONLY = "But for /run and /tmp, which podman mounts, and volumes."
_RELOAD = "Returns when the new code is ready, and fails if it does not start."
_STOP = "podman kills the container after 10 s by default, in the middle of a drain."

NEVER = 86400
"""Seconds that stand for no limit, which podman does not know."""


def container(wanted: Wanted, image: str) -> UnitText:
    """Return the container.

    Raises:
        UsageError: something is asked for that a container has not got.
    """
    _require_possible(wanted)
    head = _HEAD.format(apps=" ".join(wanted.apps), image=image, name=wanted.name)
    sockets = " ".join(map(wanted.socket_of_service, wanted.groups))
    unit = [
        UnitOption("Description", f"{wanted.name}, served by sockact in a container"),
        UnitOption("Requires", sockets, reasons.REQUIRES),
        UnitOption("After", sockets),
        UnitOption("StartLimitIntervalSec", "0", reasons.NO_LIMIT),
    ]
    sections: list[tuple[str, Sequence[Group]]] = [
        ("Unit", [unit]),
        ("Container", _container(wanted, image)),
        ("Service", [_service(wanted)]),
    ]
    return UnitText(f"{wanted.name}.container", head, sections)


def _require_possible(wanted: Wanted) -> None:
    refused = {
        "--template": wanted.template,
        "--deploy-path": bool(wanted.releases),
        "--tls": wanted.certificate is not None,
        "--hardened": wanted.hardened,
    }
    for option, given in refused.items():
        if given:
            raise UsageError(f"{option} with --quadlet: expected a service without a container")


def _container(wanted: Wanted, image: str) -> list[Group]:
    folder = [] if wanted.folder == "/" else [f"--chdir={wanted.folder}"]
    options = [word for name, value in wanted.given.items() for word in settings.option(name, value)]
    run = ["sockact", "run", *folder, f"--control={CONTROL}", *options, *wanted.apps]
    return [
        [
            UnitOption("Image", syntax.text(image, "--quadlet")),
            UnitOption("ContainerName", "%N"),
            UnitOption("Notify", "yes", _NOTIFY),
            UnitOption("Exec", syntax.command(run), _EXEC),
            *(UnitOption("Environment", _assignment(*each)) for each in wanted.environment),
            *_state(wanted),
        ],
        [
            *([] if wanted.dynamic else [UnitOption("User", wanted.user)]),
            UnitOption("ReadOnly", "yes", _READ_ONLY),
            UnitOption("NoNewPrivileges", "yes"),
            UnitOption("DropCapability", "all"),
            UnitOption("PodmanArgs", f"--stop-timeout={stop_seconds(wanted) or NEVER}", _STOP),
        ],
    ]


def _assignment(name: str, value: str) -> str:
    """Return a variable; a word of podman's command line, in which systemd replaces `${NAME}`."""
    return syntax.assignment(name, value.replace("$", "$$"))


def _state(wanted: Wanted) -> Group:
    if not wanted.state:
        return []
    folder = f"/var/lib/{wanted.name}"
    return [
        UnitOption("Volume", f"%N-state:{folder}"),
        UnitOption("Environment", syntax.assignment("STATE_DIRECTORY", folder)),
    ]


def _service(wanted: Wanted) -> Group:
    reload = f"/usr/bin/podman exec %N sockact reload --control={CONTROL}"
    return [
        UnitOption("ExecReload", reload, _RELOAD),
        UnitOption(
            "TimeoutStartSec",
            f"{start_seconds(wanted)}s",
            reasons.START.format(start=f"{wanted.settings.start_timeout:g}"),
        ),
        UnitOption(
            "TimeoutStopSec", f"{(stop_seconds(wanted) or NEVER) + 10}s", "Longer than podman's own."
        ),
        UnitOption("Restart", "on-failure"),
        UnitOption("RestartSec", "2s"),
    ]
