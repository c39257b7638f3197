"""docs/coming-from.md is complete: each row of its tables has tests, or says why it needs none."""

from __future__ import annotations

import re

import pytest

from tests.support.manager import CHECKOUT

PAGE = CHECKOUT / "docs" / "coming-from.md"
ROWS = {
    row[1]: row[2].split(" | ")
    for row in re.finditer(r"^\| ([FR]\d+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
}


def test_every_row_has_an_entry() -> None:
    names = [*(f"F{number}" for number in range(1, 119)), *(f"R{number}" for number in range(1, 43))]

    assert list(ROWS) == names


@pytest.mark.parametrize("name", ROWS)
def test_no_cell_breaks_its_table(name: str) -> None:
    what, where, _ = ROWS[name]

    assert what
    assert where


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_a_test_or_a_reason_why_it_needs_none(name: str) -> None:
    _, where, tests = ROWS[name]

    assert "../tests/" in tests or where.startswith("not needed: ")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", PAGE.read_text()))))
def test_every_file_that_is_linked_exists(link: str) -> None:
    assert (PAGE.parent / link).is_file()
