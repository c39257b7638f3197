"""A program's notifications, as the parent prints them."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN = ("READY", "RELOADING", "STOPPING", "MAINPID", "STATUS", "ERRNO", "BUSERROR", "EXIT_STATUS")
"""The assignments that are printed, in this order. Pings and requests for time would be noise.

Source: sd_notify(3)."""


class Messages:
    """Tells what is new in a notification."""

    def __init__(self) -> None:
        self._status: str | None = None

    def new(self, said: Mapping[str, str]) -> str:
        """Return the line to print; empty if there is nothing but a status that is only repeated."""
        shown = {name: said[name] for name in SHOWN if name in said}
        if shown == {"STATUS": self._status}:
            return ""
        self._status = shown.get("STATUS", self._status)
        return " ".join(["says", *(f"{name}={value}" for name, value in shown.items())]) if shown else ""
