"""All files for an app, and those that are shipped in units/ of the checkout."""

from __future__ import annotations

from collections.abc import Mapping

from sockact.units import additions, container, sandbox, service
from sockact.units.addresses import parse
from sockact.units.unit_text import UnitText
from sockact.units.wanted import Wanted

_SERVICE_HEAD = """{apps} in {folder}, with the virtual environment in {venv}.

  systemctl enable --now {sockets}
  systemctl reload {name}     starts new code beside the old; the main process stays, no client waits
  systemctl restart {name}    replaces all, this file's settings and Python included; no client waits"""
_SOCKET_HEAD = """The listening socket of {service}. systemd keeps it open through every restart, reload
and crash of the service: new connections wait in its queue."""

_SHIPPED_SERVICE = """An ASGI or WSGI app in /opt/app, with a virtual environment in /opt/app/venv that is
made with the distribution's /usr/bin/python3 (an interpreter below /root or /home is out of reach, see
below). The name of the app is that of this file: %N is app here, and so is %p, in a template too. A copy
called shop.service, beside shop.socket with another port, serves /opt/shop.

  systemctl reload app     starts new code beside the old; the main process stays, no client waits
  systemctl restart app    replaces all, this file's settings and Python included; no client waits"""
_SHIPPED_SOCKET = _SOCKET_HEAD.format(service="app.service") + "\n\n  systemctl enable --now app.socket"
_INSTANCE_SERVICE = """One of several instances of app.service, each with its own socket, processes and
reloads: see docs/rolling.md. The options are as in app.service, which explains them
(tests/unit/test_units.py compares).

  systemctl enable --now app@8001.socket app@8002.socket"""
_INSTANCE_SOCKET = """The listening socket of one of several instances; the name of an instance is its port:
app@8001.socket. The options are as in app.socket, which explains them."""


def files(wanted: Wanted) -> list[UnitText]:
    """Return the unit files for an app.

    Raises:
        UsageError: a part of the request has no valid form.
        UnitsError: the units could not work.
        SettingsError: a setting of sockact has no valid value.
    """
    wanted.check()
    what = wanted.name + (", instance %i" if wanted.template else "")
    sockets = [wanted.socket(group).replace("@.", "@1.") for group in wanted.groups]
    head = _SERVICE_HEAD.format(
        apps=" ".join(wanted.apps),
        folder=wanted.folder,
        venv=wanted.venv,
        sockets=" ".join(sockets),
        name=wanted.name + wanted.at.replace("@", "@1"),
    )
    found = [
        service.socket(
            wanted, group, _SOCKET_HEAD.format(service=wanted.service), f"Listening socket of {what}"
        )
        for group in wanted.groups
    ]
    if wanted.image:
        return [*found, container.container(wanted, wanted.image)]
    found.append(service.service(wanted, head, f"{what}, served by sockact"))
    if wanted.certificate:
        found.append(additions.tls(wanted))
    if wanted.hardened:
        found.append(sandbox.hardened(wanted))
    if wanted.releases:
        found += additions.deploy(wanted, wanted.name)
    return found


def shipped() -> Mapping[str, str]:
    """Return the contents of the files in units/, by their names."""
    app = _shipped("127.0.0.1:8000")
    instance = _shipped("127.0.0.1:%i", template=True)
    path, reload = additions.deploy(app, "the example app")
    (group,) = app.groups
    (port,) = instance.groups
    return {
        "app.socket": service.socket(
            app, group, _SHIPPED_SOCKET, "Listening socket of the example app"
        ).text(),
        "app.service": service.service(app, _SHIPPED_SERVICE, "Example app, served by sockact").text(),
        "app@.socket": service.socket(
            instance, port, _INSTANCE_SOCKET, "Listening socket of the example app, instance %i"
        ).text(explained=False),
        "app@.service": service.service(instance, _INSTANCE_SERVICE, "Example app, instance %i").text(
            explained=False
        ),
        "app-tls.conf": additions.tls(app).text(),
        "app-hardened.conf": sandbox.hardened(app).text(),
        path.name: path.text(),
        reload.name: reload.text(),
    }


def _shipped(address: str, *, template: bool = False) -> Wanted:
    return Wanted(
        name="app",
        apps=["app:app"],
        addresses=[parse(address, template=template)],
        venv="/opt/app/venv",
        folder="/opt/app",
        template=template,
        certificate=("/etc/app/tls.crt", "/etc/app/tls.key"),
        releases=["/opt/app/current", "/opt/app/app.py"],
    )
