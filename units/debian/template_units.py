#!/usr/bin/python3
"""Write sockact@.socket and sockact@.service, made by the code behind `sockact units`.

    debian/template_units.py FOLDER

The name of an instance is that of a folder in /opt. Its app is found as `sockact run` finds it.
"""

import sys
from pathlib import Path

from sockact.units import service
from sockact.units.addresses import parse
from sockact.units.wanted import Wanted

ANY = "/opt/INSTANCE"
SOCKET = """The listening socket of sockact@.service: sockact@shop.socket is /run/sockact-shop.sock, for a
proxy of group www-data, as nginx and Apache are.

For a port: `systemctl edit sockact@shop.socket`, with [Socket], ListenStream= and
ListenStream=127.0.0.1:8000."""
SERVICE = """The app in /opt/shop, as sockact@shop.service. /etc/sockact/shop.env has settings
(SOCKACT_WORKERS=4) and the app's variables, if it is there. The interpreter is the system's; for a virtual
environment see docs/packages.md in /usr/share/doc/sockact.

  systemctl enable --now sockact@shop.socket
  systemctl reload sockact@shop"""


def main(folder: Path) -> None:
    wanted = Wanted(
        name="sockact",
        apps=[],
        addresses=[parse("unix:/run/sockact-%i.sock", template=True)],
        venv="/usr",
        folder=ANY,
        template=True,
        # Of nginx and Apache; it is in every Debian.
        socket_group="www-data",
        carried={
            "Unit": [("Documentation", "man:sockact.units(7)")],
            "Service": [("EnvironmentFile", "-/etc/sockact/%i.env")],
        },
    )
    wanted.check()
    (group,) = wanted.groups
    socket = service.socket(wanted, group, SOCKET, "Listening socket of the app in /opt/%i")
    unit = service.service(wanted, SERVICE, "The app in /opt/%i, served by sockact")
    (folder / "sockact@.socket").write_text(socket.text())
    text = unit.text().replace(ANY, "/opt/%i").replace("/usr/bin/%p", "/usr/bin/sockact")
    (folder / "sockact@.service").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
