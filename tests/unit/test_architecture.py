"""The pages say what is: generated tables, the functions that they name, and where their links lead.

`python -m tests.unit.test_architecture` generates the tables anew.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import sockact
from sockact.engines.http import stages
from sockact.engines.http.stages import HttpStage
from sockact.lifecycle.phases import TABLE, Act, Event

ROOT = Path(sockact.__file__).parent
CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/architecture.md"
GENERATED = ("settings.md", "coming-from.md", "commands.md", "notifications.md", "unit-options.md")
"""Pages that are made of the code, or of tests, which have their own tests."""
PAGES = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]
WRITTEN = [path for path in PAGES if path.name not in GENERATED]

BEGIN, END = "<!-- {}: python -m tests.unit.test_architecture -->\n", "<!-- end -->"
NAMED = re.compile(r"`([\w/]+\.py)(?:: ([\w.]+))?`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
UNCLEAR = re.compile(
    r"(?:^|[.:;] |\| |- )(?:What|Who|Whom|Whoever|Take notice|Let) (?:[^|?]*)(?:[.|]|$)"
    r"|hammer|newcomer|somebody|farewell",
    re.MULTILINE,
)
"""Openings after which a reader looks for the subject, and words that stand in no glossary."""


def lifecycle_table() -> str:
    """Return the table of the lifecycle as the page must have it."""
    lines = [
        "| event | " + " | ".join(phase.value for phase in TABLE) + " |",
        "|---" * (len(TABLE) + 1) + "|",
    ]
    for event in Event:
        cells = [cell(phase.value, *TABLE[phase][event]) for phase in TABLE]
        lines.append("| " + " | ".join([event.value, *cells]) + " |")
    return "\n".join(lines) + "\n"


def cell(before: str, after: object, act: Act) -> str:
    phase = getattr(after, "value", "")
    parts = [f"**{phase}**"] if phase != before else []
    return ": ".join([*parts, *([act.value] if act.value != "nothing" else [])])


def connection_diagram() -> str:
    """Return the diagram of a connection's stages: how each can follow another, before the last ones."""
    reasons: dict[tuple[HttpStage, HttpStage], list[str]] = {}
    for (stage, event), found in stages.TABLE.items():
        if found.stage not in (stage, HttpStage.CLOSED):
            reasons.setdefault((stage, found.stage), []).append(stages.EVENTS[event])
    lines = [
        f"  {before.name} --> {after.name}: {'<br>'.join(why)}" for (before, after), why in reasons.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", "  [*] --> FRESH", *lines, "```"]) + "\n"


def stages_list() -> str:
    """Return what each stage means."""
    lines = [f"- `{stage.name}`: {text}" for stage, text in stages.STAGES.items()]
    return "\n".join(lines) + "\n"


def connection_table() -> str:
    """Return the table of a connection, without the cells in which nothing happens."""
    lines = ["| stage | event | next stage | actions |", "|---|---|---|---|"]
    for (stage, event), found in stages.TABLE.items():
        if found != (stage, ()):
            after = "" if found.stage is stage else found.stage.name
            actions = ", then ".join(stages.ACTIONS[action] for action in found.actions)
            lines.append(f"| {stage.name} | {stages.EVENTS[event]} | {after} | {actions} |")
    return "\n".join(lines) + "\n"


CONNECTION = CHECKOUT / "docs/connection.md"
GENERATORS = [
    (PAGE, "lifecycle", lifecycle_table),
    (PAGE, "connection", connection_diagram),
    (CONNECTION, "stages", stages_list),
    (CONNECTION, "table", connection_table),
]


def missing(page: str) -> list[str]:
    """Return the files and functions that a page names and the package does not have."""
    return [
        f"{file}: {name}"
        for file, name in NAMED.findall(page)
        if not (ROOT / file).is_file() or (name and name not in defined(file))
    ]


@cache
def defined(file: str) -> frozenset[str]:
    """Return the names that a module defines, those of the members of its classes included."""
    return frozenset(names(ast.parse((ROOT / file).read_text()), ""))


def names(node: ast.AST, prefix: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from names(child, f"{prefix}{child.name}.")
        targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "name", "made"), GENERATORS, ids=[name for _, name, _ in GENERATORS])
def test_what_is_generated_is_that_of_the_code(page: Path, name: str, made: Callable[[], str]) -> None:
    assert BEGIN.format(name) + made() + END in page.read_text(), __doc__


def test_every_file_and_function_that_the_page_names_exists() -> None:
    assert len(NAMED.findall(PAGE.read_text())) > 50
    assert missing(PAGE.read_text()) == []


def test_a_name_that_does_not_exist_is_seen() -> None:
    page = "`lifecycle/drain.py: Drain.wait`, `lifecycle/drain.py: Drain.waits`, `lifecycle/drains.py`"

    assert missing(page) == ["lifecycle/drain.py: Drain.waits", "lifecycle/drains.py: "]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if not link.startswith("http")]
    for path, _, anchor in (link.partition("#") for link in links):
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), path
        assert not anchor or anchor in anchors(found), f"{path}#{anchor}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_the_pages_use_plain_words(page: Path) -> None:
    text = page.read_text().replace('("the hammer" of endless, grace and beego)', "")

    assert [found.group() for found in UNCLEAR.finditer(text)] == []


@pytest.mark.parametrize(("page", "most"), [("README.md", 200), ("docs/architecture.md", 250)])
def test_the_first_pages_are_short(page: str, most: int) -> None:
    assert len((CHECKOUT / page).read_text().splitlines()) <= most


def write() -> None:
    """Write what is generated into its pages."""
    for page, name, made in GENERATORS:
        begin = BEGIN.format(name)
        before, _, rest = page.read_text().partition(begin)
        page.write_text(before + begin + made() + END + rest.partition(END)[2])


if __name__ == "__main__":
    write()
