"""Each rule finds a mistake in a bad unit, and nothing in a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.check import report
from sockact.check.rule import RULES, Severity
from sockact.check.rules import SUBJECTS, sockets
from sockact.sockets import fds
from tests.support.unit_cases import BASES, CASES, CHECKOUT, UnitCase, findings, names, write

OF_FILES = (
    *("program-missing", "program-out-of-reach", "root-runs-foreign-files", "environment-file-missing"),
    "root-is-loaded-with-foreign-files",
    *("file-unreadable", "environment-file-open", "working-directory-missing", "credential-missing"),
    *("user-missing", "app-not-importable"),
)
"""Rules that look at files of this machine: see test_reach."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.base}")
def test_a_rule_finds_its_mistake_and_shows_where(tmp_path: Path, case: UnitCase) -> None:
    write(tmp_path / "good", case.good)
    write(tmp_path / "bad", case.bad)

    good = findings(tmp_path / "good", version=case.version)
    bad = [each for each in findings(tmp_path / "bad", version=case.version) if each.rule.name == case.rule]

    assert bad
    assert case.rule not in names(good)
    for finding in bad:
        at = finding.complaint.at
        if at is not None:
            line = Path(at.path).read_text().splitlines()[at.line - 1]
            assert line.startswith(f"{at.option.partition('.')[2]}=")


def test_the_names_of_sockets_for_load_balancers_are_those_that_sockact_answers() -> None:
    assert sockets.ANSWERED == fds.ANSWERED


def test_every_rule_has_a_bad_and_a_good_unit() -> None:
    assert {case.rule for case in CASES} | {*OF_FILES} == RULES.keys()
    assert len(RULES) >= 30


@pytest.mark.parametrize("base", BASES)
def test_a_base_has_nothing_but_hints(tmp_path: Path, base: str) -> None:
    write(tmp_path, BASES[base])

    assert [each for each in findings(tmp_path) if each.rule.severity is not Severity.HINT] == []


@pytest.mark.parametrize("version", [None, 252, 257, 262])
def test_the_shipped_units_have_no_finding(version: int | None) -> None:
    assert findings(CHECKOUT / "units", version=version) == []


@pytest.mark.parametrize("name", ["tls", "hardened"])
def test_a_drop_in_brings_no_finding(tmp_path: Path, name: str) -> None:
    drop_in = (CHECKOUT / f"units/app-{name}.conf").read_text()
    write(tmp_path, {**BASES["app"], f"app.service.d/{name}.conf": drop_in})

    assert findings(tmp_path) == []


def test_every_rule_says_what_follows_and_names_a_man_page() -> None:
    for rule in RULES.values():
        assert rule.consequence.endswith((".", ")")), rule
        assert len(rule.consequence) < 120, rule
        assert "(" in rule.source, rule
    assert {rule.look.__module__ for rule in RULES.values()} == {
        each.__name__ for each in SUBJECTS.values()
    }


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    unit = BASES["uvicorn"]["api.service"].replace(
        "[Service]\n", "[Service]\nEnvironment=API_KEY=hunter2\n"
    )
    write(tmp_path, {"api.service": unit})

    found = findings(tmp_path)

    assert "secret-in-unit" in names(found)
    for text in (report.text(found, [each.unit for each in found]), report.as_json(found)):
        assert "hunter2" not in text


def test_an_alias_is_no_second_service(tmp_path: Path) -> None:
    write(tmp_path, BASES["app"])
    (tmp_path / "alias.service").symlink_to("app.service")
    (tmp_path / "alias.socket").symlink_to("app.socket")

    found = [each for each in findings(tmp_path) if each.unit.name.startswith("app.")]

    assert found == []


def test_a_service_that_asks_for_more_time_may_drain_for_longer_than_its_unit_says(tmp_path: Path) -> None:
    unit = BASES["app"]["app.service"].replace("TimeoutStopSec=60s", "TimeoutStopSec=5s")
    write(tmp_path, {**BASES["app"], "app.service": unit})

    assert findings(tmp_path) == []
