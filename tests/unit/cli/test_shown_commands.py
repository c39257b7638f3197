"""The pages show commands, options and names of `sockact` that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import sockact
from sockact.cli.command_parser import CommandParser
from sockact.cli.main import COMMANDS

CHECKOUT = Path(__file__).parents[3]
NO_CODE = ("performance.md", "check-examples.md", "unit-options.md", "doctor.md")
"""These show figures, findings and shortened lines in the place of code."""

PAGES = [
    path for path in (*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")) if path.name not in NO_CODE
]
CODE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```|^((?:    [^\n]*\n)+)|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?P<before>[^\n]*?)(?:^|(?<=[\s/=]))sockact (?P<name>[a-z][a-z-]+)(?P<rest>(?:\\\n|[^\n#|&;])*)",
    re.MULTILINE,
)
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def shown(page: str) -> Iterator[tuple[str, str]]:
    """Yield the code of a page, each piece with its language."""
    for language, fenced, indented, inline in CODE.findall(page):
        yield language, fenced or indented or inline


def options_of(name: str) -> set[str]:
    parser = CommandParser(prog=f"sockact {name}")
    import_module(f"sockact.cli.{name.replace('-', '_')}").add_arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}


def unknown_commands(page: str) -> list[str]:
    """Return the commands and options that there are not."""
    found = []
    for _, code in shown(page):
        for match in COMMAND.finditer(code):
            name, own = match["name"], match["rest"].partition(" -- ")[0]
            if "install" in match["before"]:
                continue  # of packages, of which sockact is one
            if name not in COMMANDS:
                found.append(f"sockact {name}")
            else:
                found += [f"{name} {each}" for each in OPTION.findall(own) if each not in options_of(name)]
    return found


def unknown_names(page: str) -> list[str]:
    """Return the names of the package that Python code takes, and that there are not."""
    found = []
    for language, code in shown(page):
        for node in ast.walk(ast.parse(code)) if language == "python" else ():
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found += (
                    [node.attr] if node.value.id == "sockact" and not hasattr(sockact, node.attr) else []
                )
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sockact":
                module = import_module(node.module or "")
                found += [each.name for each in node.names if not hasattr(module, each.name)]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_page_shows_is_there(page: Path) -> None:
    text = page.read_text()
    assert unknown_commands(text) == []
    assert unknown_names(text) == []


def test_what_is_not_there_is_seen() -> None:
    page = (
        "`sockact frobnicate` and `sockact reload --hard app`:\n\n"
        "    /opt/app/venv/bin/sockact run --worker 4 \\\n        --preloaded app:app    # --comment\n"
        "    sockact activate --listen web=8000 -- program --its-own\n\n"
        "```python\nimport sockact\nfrom sockact.hooks import none_such\n\nsockact.served(app)\n```\n"
    )
    assert unknown_commands(page) == [
        "sockact frobnicate",
        "reload --hard",
        "run --worker",
        "run --preloaded",
    ]
    assert sorted(unknown_names(page)) == ["none_such", "served"]


def test_the_pages_show_most_commands() -> None:
    names = {
        match["name"]
        for page in PAGES
        for _, code in shown(page.read_text())
        for match in COMMAND.finditer(code)
    }
    assert len(names & COMMANDS.keys()) > len(COMMANDS) / 2
