"""The code reads plainly: docstrings name their subject first, a class has a name of its own."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sockact

ROOT = Path(sockact.__file__).parent
UNCLEAR = re.compile(
    r"(?:What|Who|Whom|Whose|Whoever|How|Whether|Where|When|Those|These|Be|Let|Take notice)\b"
)
"""Openings after which a reader looks for the subject."""
STRANGE = re.compile(r"hammer|newcomer|farewell|somebody", re.IGNORECASE)
"""Words that an operator would have to look up, or guess at."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def nodes(source: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(source))


def unclear(source: str) -> list[str]:
    """Return the docstrings whose first sentence does not begin with its subject."""
    found = [ast.get_docstring(node) or "" for node in nodes(source) if isinstance(node, DOCUMENTED)]
    return [text.partition("\n")[0] for text in found if UNCLEAR.match(text)]


def strange(source: str) -> list[str]:
    """Return the texts with strange words: docstrings, log lines, errors, help."""
    texts = [node.value for node in nodes(source) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and STRANGE.search(text)]


def sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.py"))}


def test_docstrings_begin_with_their_subject() -> None:
    assert {path: found for path, source in sources().items() if (found := unclear(source))} == {}


def test_an_opening_without_a_subject_is_seen() -> None:
    assert unclear('"""What it is."""\ndef wait():\n    """Wait."""\nclass A:\n    """Who waits."""\n') == [
        "What it is.",
        "Who waits.",
    ]


def test_no_text_has_a_word_that_needs_a_glossary() -> None:
    assert {path: found for path, source in sources().items() if (found := strange(source))} == {}
    assert strange('log("the hammer falls")') == ["the hammer falls"]


def test_each_class_of_the_package_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for source in sources().values()
        for node in nodes(source)
        if isinstance(node, ast.ClassDef)
    )

    assert [name for name, count in names.items() if count > 1] == []
