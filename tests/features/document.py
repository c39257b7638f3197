"""docs/coming-from.md, as `rows` and the marks in the tests make it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.features.marks import TESTS, Test, marked
from tests.features.rows import FEATURES, INTRODUCTION, PENDING, RACES, Row

DOCUMENT = TESTS.parent / "docs" / "coming-from.md"
SHOWN = 3
"""Tests of a row that are named; `pytest -m` finds the others."""


def document() -> str:
    """Return the whole text."""
    tests = marked()
    return "\n".join(
        [
            INTRODUCTION,
            "## Features\n",
            *_table("F", FEATURES, "feature", "where it went", tests),
            "\n## Races\n",
            *_table("R", RACES, "where a request could get lost", "why it does not", tests),
            "",
        ]
    )


def rows() -> Iterator[tuple[str, Row]]:
    """Give each row with its name."""
    yield from ((f"F{number}", row) for number, row in FEATURES.items())
    yield from ((f"R{number}", row) for number, row in RACES.items())


def without_test() -> list[str]:
    """Return the rows that have no test and no reason for that, those that are pending included."""
    tests = marked()
    return [name for name, row in rows() if name not in tests and not row.untested]


def _table(
    letter: str, table: Mapping[int, Row], what: str, where: str, tests: Mapping[str, Sequence[Test]]
) -> Iterator[str]:
    yield f"| | {what} | {where} | shown by |"
    yield "|---|---|---|---|"
    for number, row in table.items():
        name = f"{letter}{number}"
        yield f"| {name} | {row.what} | {row.where} | {_shown(name, tests.get(name, ()))} |"


def _shown(name: str, tests: Sequence[Test]) -> str:
    if not tests:
        return "to come" if name in PENDING else ""
    links = [f"[{_title(test)}](../tests/{test.file})" for test in tests[:SHOWN]]
    more = len(tests) - SHOWN
    return "; ".join([*links, *([f"{more} more"] if more > 0 else [])])


def _title(test: Test) -> str:
    return (test.name or test.file.removesuffix(".py")).removeprefix("test_").replace("_", " ")
