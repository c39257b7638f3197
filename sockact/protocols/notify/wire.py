"""The format of notifications, and the variables in which a manager tells what it expects."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from sockact.untrusted.number import decimal
from sockact.untrusted.text import visible

DATAGRAM_LIMIT = 4096
"""NOTIFY_BUFFER_MAX of systemd: a longer datagram is dropped whole, a READY=1 in it as well."""

STATUS_LIMIT = 512
"""Characters of a STATUS= that are sent; `systemctl status` shows it on one line."""

NAME_LIMIT = 255
"""Characters that a descriptor's name may have, as with FileDescriptorName= of systemd.socket(5)."""

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two watchdog pings, half of what the manager allows, or None.

    Source: sd_watchdog_enabled(3).
    """
    allowed = usec(environ.get("WATCHDOG_USEC"))
    if not allowed or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return allowed / 2


def storage(environ: Mapping[str, str]) -> int:
    """Return how many descriptors the manager stores for its service; 0 if it does not tell.

    systemd tells it from version 254 on; for an older one the unit has to.

    Source: sd_notify(3), FDSTORE in systemd.exec(5).
    """
    return decimal(environ.get("FDSTORE"), digits=9) or 0


def parse(data: bytes) -> dict[str, str]:
    """Read the lines of a notification, made visible; what is not `NAME=value` in UTF-8 is left out."""
    assignments: dict[str, str] = {}
    for line in data.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if name and equals:
            with contextlib.suppress(UnicodeDecodeError):
                assignments.setdefault(name.decode("ascii"), visible(value.decode("utf-8")))
    return assignments


def one_line(text: str) -> str:
    """Return a text as the value of one assignment: printable, in one line, and not too long."""
    # A line feed would begin another assignment: an error text must not be able to say MAINPID=.
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= STATUS_LIMIT else line[: STATUS_LIMIT - 1] + "…"


def status_line(text: str) -> str:
    """Return the assignment of a status."""
    return f"STATUS={one_line(text)}"


def usec(text: str | None) -> float | None:
    """Return the seconds of an assignment in microseconds; None if it is no number of 64 bits."""
    number = decimal(text)
    return None if number is None else number / 1_000_000


def check_name(name: str) -> None:
    """Raise ValueError unless it may be a descriptor's name: systemd calls all others "stored"."""
    if not (0 < len(name) <= NAME_LIMIT and name.isascii() and name.isprintable() and ":" not in name):
        raise ValueError(
            f"the name of a descriptor is printable ASCII without a colon, at most {NAME_LIMIT}: {name!r}"
        )
