"""The pages about `sockact check` say what the code says."""

from __future__ import annotations

from sockact.check import page
from sockact.check.rule import RULES
from tests.support import check_examples
from tests.support.unit_cases import CHECKOUT, findings, names


def test_the_page_of_rules_is_made_from_the_code() -> None:
    """It is made anew by `python -m sockact.check.page >docs/check.md`."""
    text = (CHECKOUT / "docs/check.md").read_text()

    assert text == page.page()
    assert {name: text.count(f"\n| `{name}` |") for name in RULES} == dict.fromkeys(RULES, 1)


def test_the_page_of_examples_is_what_the_command_prints() -> None:
    """It is made anew by `python -m tests.support.check_examples >docs/check-examples.md`."""
    assert (CHECKOUT / "docs/check-examples.md").read_text() == check_examples.page()


def test_the_six_mistakes_are_found() -> None:
    found = names(findings(CHECKOUT / "tests/units/six-mistakes"))

    assert found >= {
        *("readiness-not-told", "reload-by-signal", "wrong-section", "stop-timeout-below-drain"),
        *("socket-in-runtime-directory", "reuse-port"),
    }
