"""A reboot of the userspace alone, which the service survives if its units say so."""

from __future__ import annotations

import textwrap

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import get, install, main_pid, processes, reload
from tests.support.machine.soft_reboot import SURVIVES, let_survive, soft_reboot_now
from tests.support.machine.supervised import QUICK, start

SINCE_254 = pytest.mark.parametrize("suite", ["trixie"], indirect=True)


def test_the_page_has_the_lines_with_which_this_is_tried() -> None:
    page = (CHECKOUT / "docs/restart-and-stop.md").read_text()
    assert textwrap.indent(SURVIVES, "    ") in page


@SINCE_254
def test_a_service_survives_a_reboot_of_the_userspace_and_loses_nothing(app: Machine) -> None:
    let_survive(app)
    start(app, *QUICK)
    with load(app) as clients:
        before = processes(app)

        soft_reboot_now(app)

        assert processes(app) == before
        install(app, 2)
        reload(app)
        assert get(app)["version"] == "2"
        app.run("systemctl", "restart", "app.service")
        report = clients.report()
    assert_nothing_lost(report)


@SINCE_254
def test_a_service_whose_units_do_not_say_so_is_stopped(app: Machine) -> None:
    start(app, *QUICK)
    pid = main_pid(app)

    soft_reboot_now(app)

    assert pid not in processes(app)
