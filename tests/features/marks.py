"""Which tests show which rows: read from their sources, without running them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
MARK = re.compile(r"pytest\.mark\.([FR]\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Test:
    """A test, by its file below tests/ and its name."""

    file: str
    name: str

    __test__ = False  # of this module, to pytest


def marked() -> dict[str, list[Test]]:
    """Return the tests of each row that has any, in the order of their names."""
    found: dict[str, list[Test]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, row in _in(path.read_text(), path.relative_to(TESTS).as_posix()):
            found.setdefault(row, []).append(test)
    return {row: sorted(set(tests)) for row, tests in found.items()}


def _in(source: str, file: str) -> Iterator[tuple[Test, str]]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                for row in MARK.findall(ast.unparse(decorator)):
                    yield Test(file, node.name), row
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            for row in MARK.findall(ast.unparse(node.value)):
                yield Test(file, ""), row
