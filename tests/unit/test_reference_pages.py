"""The pages of the reference say what the code says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import pytest

from sockact import errors
from sockact.cli import page as commands
from sockact.cli.main import COMMANDS
from sockact.protocols import page as notifications
from sockact.protocols import worker_messages
from sockact.system.signals import HANDLED
from sockact.units import page as unit_options
from tests.support.manager import CHECKOUT

DOCS = CHECKOUT / "docs"
PAGES = {
    "commands.md": commands.page,
    "notifications.md": notifications.page,
    "unit-options.md": unit_options.page,
}


@pytest.mark.parametrize(("name", "page"), PAGES.items(), ids=PAGES)
def test_the_page_is_made_from_the_code(name: str, page: Callable[[], str]) -> None:
    """It is made anew by the command in its second paragraph."""
    assert (DOCS / name).read_text() == page()


def test_every_command_has_its_options() -> None:
    text = commands.page()

    assert [text.count(f"\n## sockact {name}\n") for name in COMMANDS] == [1] * len(COMMANDS)
    assert "| `--listen [NAME=]ADDRESS`, `-l [NAME=]ADDRESS` |" in text
    assert "| `--drain-timeout" not in text  # of the settings, which have a page


def test_every_assignment_and_order_is_on_the_page() -> None:
    values = [value for value in vars(worker_messages).values() if isinstance(value, str)]
    names = [value for value in values if re.fullmatch(r"X_SOCKACT_\w+", value) and value[-1] != "_"]
    orders = [value for value in values if re.fullmatch(r"[A-Z]+", value)]

    assert len(names) > 10
    assert len(orders) > 5
    text = notifications.page()
    assert [name for name in names if f"`{name}=" not in text] == []
    assert [name for name in orders if f"`{name}" not in text] == []


def test_every_option_of_the_shipped_service_is_on_the_page() -> None:
    shipped = (CHECKOUT / "units/app.service").read_text()
    options = re.findall(r"^([A-Z]\w+)=", shipped, re.MULTILINE)

    assert len(options) > 40
    text = unit_options.page()
    assert [name for name in options if f"| `{name}=" not in text] == []


def test_every_signal_and_exit_status_is_on_the_page_of_signals() -> None:
    text = (DOCS / "signals.md").read_text()
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    words = set(re.findall(r"\w+", " ".join(cells)))
    statuses = {kind.exit_status for kind in kinds(errors.SockactError)} | {0, os.EX_TEMPFAIL}

    assert {number.name.removeprefix("SIG") for number in HANDLED} - words == set()
    assert {str(status) for status in statuses} - words == set()


def kinds(kind: type[errors.SockactError]) -> Iterator[type[errors.SockactError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)
