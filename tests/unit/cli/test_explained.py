"""What was lost is explained by mistakes in the units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sockact.check import rules as _  # noqa: F401  # declares them
from sockact.check.rule import RULES
from sockact.cli import explained
from sockact.probe.outcome import Outcome
from sockact.systemd import unit_files
from sockact.systemd.systemctl import Described

BAD = """[Service]
ExecStart=/usr/bin/gunicorn --bind 127.0.0.1:80 shop:app
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGQUIT
"""


def report(stall: float = 0.0, reconnects: int = 0, **lost: int) -> dict[str, Any]:
    outcomes = {**dict.fromkeys(Outcome, 0), Outcome.OK: 100}
    outcomes |= {Outcome(each): number for each, number in lost.items()}
    return {"total": {"outcomes": outcomes, "reconnects": reconnects, "stall": stall}}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Described:
    """Return a service whose unit has mistakes, in the only folder of units."""
    (tmp_path / "shop.service").write_text(BAD)
    monkeypatch.setattr(unit_files, "SYSTEM", (str(tmp_path),) * 13)
    return Described("shop.service", "--system", {}, {})


def test_all_rules_exist() -> None:
    assert {name for names in explained.RULES.values() for name in names} <= RULES.keys()
    assert set(explained.RULES) - {"reconnects", "stall"} <= set(Outcome)


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ({"reset": 3}, "kill-signal-cuts"),
        ({"reconnects": 3}, "kill-signal-cuts"),
        ({"stall": 1.5}, "readiness-not-told"),
    ],
)
def test_a_loss_names_the_rule_that_explains_it(
    service: Described, lost: dict[str, Any], rule: str
) -> None:
    lines = explained.rules(report(**lost), service)

    assert any(line.startswith(f"check: {rule}: ") for line in lines), lines
    assert lines[-1] == "`sockact check shop.service` shows the lines"


@pytest.mark.parametrize("lost", [{}, {"stall": 0.5}, {"refused": 3}])
def test_nothing_is_named_that_does_not_explain_it(service: Described, lost: dict[str, Any]) -> None:
    assert explained.rules(report(**lost), service) == []


def test_a_unit_without_a_file_is_not_checked(service: Described) -> None:
    gone = service._replace(unit="gone.service")

    assert explained.rules(report(reset=1), gone) == []
