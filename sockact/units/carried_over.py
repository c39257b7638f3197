"""All that is known of an existing service, gathered by those that read it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

VARIABLE = "a variable of the shell, whose value is not known here"
"""A reason for which a part is not carried over."""


@dataclass(slots=True)
class CarriedOver:
    """All that an existing service asks for, as far as it was understood.

    Attributes:
        server: the server that was found.
        app: the app, as `sockact run` takes it.
        listen: addresses, as `--listen` takes them.
        given: settings of sockact, as texts.
        folder: the folder to import the app from.
        venv: the virtual environment; "" if the command does not tell.
        user: its user; "" if there is none.
        environment: variables of the app.
        certificate: the file of the certificate.
        key: the file of its key.
        options: options of the existing unit that stay, by section.
        socket_group: the group that may connect.
        left: the parts that are not carried over, each with the reason.
        notes: the parts that are not quite the same.
    """

    server: str = ""
    app: str = ""
    listen: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    venv: str = ""
    user: str = ""
    environment: list[tuple[str, str]] = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    options: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    socket_group: str = ""
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Return a path that may be relative to the folder."""
        return os.path.normpath(os.path.join(self.folder, name))

    def report(self) -> list[str]:
        """Return what is not carried over, and what is not quite the same, in lines."""
        lines = [f"Read as the command of {self.server}."]
        for title, found in (("Not carried over:", self.left), ("Not quite the same:", self.notes)):
            lines += [title, *(f"  {each}" for each in dict.fromkeys(found))] if found else []
        return lines
