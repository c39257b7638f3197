"""The threat model: each of its lines has tests, and these exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/threat-model.md"
TEST = re.compile(r'\[\d+\]\((\S+) "(\w+)"\)')
HEAD = "| attempt | what comes of it | by | tests |\n|---|---|---|---|\n"


def lines(page: str) -> list[str]:
    """Return the lines of the tables of attempts."""
    tables = [part.partition("\n\n")[0] for part in page.split(HEAD)[1:]]
    return [line for table in tables for line in table.splitlines()]


def missing(line: str) -> list[str]:
    """Return the tests of a line that do not exist; the line itself if it names none."""
    named = TEST.findall(line)
    return [f"{file}: {name}" for file, name in named if name not in names_in(file)] if named else [line]


def names_in(link: str) -> set[str]:
    """Return the names of the tests in a file."""
    path = (PAGE.parent / link).resolve()
    tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_line_has_tests_and_these_exist() -> None:
    found = lines(PAGE.read_text())

    assert len(found) > 40
    assert [each for line in found for each in missing(line)] == []


HERE = "../tests/unit/test_threat_model.py"


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        (f'[1]({HERE} "test_each_line_has_tests_and_these_exist")', 0),
        (f'[1]({HERE} "test_that_is_gone")', 1),
        ('[1](../tests/unit/test_that_is_gone.py "test_x")', 1),
        ("", 1),
    ],
)
def test_a_test_that_is_gone_is_seen(tests: str, expected: int) -> None:
    (line,) = lines(f"# x\n\n{HEAD}| read | refused | the kernel | {tests} |\n\ntext | of | another |\n")

    assert len(missing(line)) == expected
