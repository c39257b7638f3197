"""docs/coming-from.md is complete and true: every row has an entry, and a test or a reason for none."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROWS
from tests.features.document import DOCUMENT, document, rows, without_test
from tests.features.marks import MARK, TESTS, marked
from tests.features.rows import FEATURES, PENDING, RACES


def test_every_row_has_an_entry() -> None:
    assert list(FEATURES) == list(range(1, ROWS["F"] + 1))
    assert list(RACES) == list(range(1, ROWS["R"] + 1))


def test_every_row_has_a_test_or_a_reason_why_it_needs_none() -> None:
    assert set(without_test()) <= set(PENDING)


def test_what_is_pending_has_no_test_yet() -> None:
    assert {name for name in PENDING if name in marked()} == set()
    assert set(PENDING) <= {name for name, _ in rows()}


def test_the_document_is_what_rows_and_marks_make_of_it() -> None:
    assert DOCUMENT.read_text() == document(), "run: python -m tests.features"


def test_every_mark_is_found() -> None:
    """By the text of the files: one on a class, or behind a name, would be no part of the table."""
    written = {
        row
        for path in TESTS.rglob("test_*.py")
        for row in re.findall(rf"(?:@|^pytestmark = ){MARK.pattern}$", path.read_text(), re.MULTILINE)
    }

    assert written == set(marked())


@pytest.mark.parametrize("name", [name for name, _ in rows()])
def test_no_cell_breaks_its_table(name: str) -> None:
    row = dict(rows())[name]

    assert "|" not in row.what + row.where
    assert row.what
    assert row.where
