"""A booted machine on which units/app.service, as shipped, serves the load app."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.support.machine.machine import Machine, boot
from tests.support.machine.roots import CHECKOUT, prepare, root_for
from tests.support.machine.service import configure, install

SUITES = ("bookworm", "trixie")


@contextlib.contextmanager
def serving(suite: str, *options: str) -> Iterator[Machine]:
    """Boot a machine of a Debian release, and start the service on it."""
    root = root_for(suite)
    prepare(root)
    with boot(root, f"bench-{os.getpid()}") as machine:
        machine.run(f"{CHECKOUT}/units/provision", "app")
        install(machine, 1)
        configure(machine, *options)
        machine.run("systemctl", "start", "app.socket", "app.service")
        yield machine
