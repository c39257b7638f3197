"""Pressure on memory, as systemd asks a service to watch it, and as the kernel tells of it."""

from __future__ import annotations

import time

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.pressure import short_of_memory
from tests.support.machine.roots import NEWEST
from tests.support.machine.service import get, main_pid, start_as, wait_until

LITTER = """
import gc
gc.set_threshold(0)  # nothing is collected unless somebody asks for it
class Litter:
    count = 0
    def __init__(self):
        self.itself = self
        Litter.count += 1
    def __del__(self):
        Litter.count -= 1
def app(environ, start_response):
    if environ["PATH_INFO"] == "/litter":
        Litter()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b"%d" % Litter.count]
"""


@pytest.mark.newest("supervised")
@pytest.mark.parametrize("suite", ["trixie", NEWEST], indirect=True)  # systemd 254 or later
@pytest.mark.parametrize("role", ["supervised", "alone"])
def test_workers_in_the_sandbox_return_what_is_free_under_pressure(app: Machine, role: str) -> None:
    app.write("/opt/app/app.py", LITTER)
    start_as(role, app)
    wait_until(lambda: get(app, "/litter") > 0)

    began = time.time()
    with short_of_memory(app, "app.service"):
        wait_until(lambda: get(app) == 0)

    assert "Traceback" not in app.journal("app.service", since=began)


@pytest.mark.parametrize("suite", ["bookworm"], indirect=True)
def test_systemd_252_does_not_ask_for_it(app: Machine) -> None:
    began = time.time()
    app.run("systemctl", "start", "app.socket", "app.service")
    environ = app.read(f"/proc/{main_pid(app)}/environ")

    assert "MEMORY_PRESSURE" not in environ
    assert "pressure" not in app.journal("app.service", since=began)
