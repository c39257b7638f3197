"""Imports point down, and heavy ones stand in the one module that needs them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

import sockact

ROOT = Path(sockact.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/architecture.md"
MODULES = {
    ".".join(("sockact", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@cache
def imported(module: str, *, at_once: bool = False) -> frozenset[str]:
    """Return what a module imports; `at_once`: without what its functions import when they are called."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = origin(module, node)
            parts = {f"{whole}.{alias.name}" for alias in node.names}
            found |= {part if part in MODULES else whole for part in parts}
        if not (at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            todo += ast.iter_child_nodes(node)
    return frozenset(found)


def origin(module: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of what is imported from."""
    if not node.level:
        assert node.module is not None
        return node.module
    own = 0 if MODULES[module].name == "__init__.py" else 1
    package = module.split(".")[: len(module.split(".")) - own - (node.level - 1)]
    return ".".join([*package, *([node.module] if node.module else [])])


def of_sockact(module: str, *, at_once: bool = False) -> set[str]:
    return {name for name in imported(module, at_once=at_once) if name.split(".")[0] == "sockact"}


RULE = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|$", re.MULTILINE)
EVERYBODY = {"sockact", "sockact.__main__"}
"""Know every room: the public names, and the command."""


def rules(page: str) -> dict[str, set[str]]:
    """Return what each room may import, as docs/architecture.md says."""
    found = {room: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in RULE.findall(page)}
    found["cli"] = {"sockact", *found} - {"cli"}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def upward(rule: Mapping[str, set[str]], imports: Mapping[str, set[str]]) -> set[str]:
    """Return the imports that the rule does not allow."""
    return {
        f"{module} -> {name}"
        for module, names in imports.items()
        for name in names
        if room(name) != room(module) and room(name) not in rule[room(module)]
    }


def all_imports() -> dict[str, set[str]]:
    return {module: of_sockact(module) for module in MODULES if module not in EVERYBODY}


def test_imports_point_down_as_the_architecture_page_says() -> None:
    assert upward(rules(PAGE.read_text()), all_imports()) == set()


def test_every_room_has_a_line_on_the_architecture_page() -> None:
    assert {room(module) for module in MODULES if module not in EVERYBODY} == set(rules(PAGE.read_text()))


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("sockact.errors", "sockact.hooks"),
        ("sockact.sockets.fds", "sockact.protocols.notify"),
        ("sockact.lifecycle.conductor", "sockact.worker.service"),
        ("sockact.supervisor.service", "sockact.engines.group"),
        ("sockact.process.launch", "sockact.cli.main"),
    ],
)
def test_an_upward_import_is_seen(module: str, planted: str) -> None:
    imports = all_imports()
    imports[module] = imports[module] | {planted}

    assert upward(rules(PAGE.read_text()), imports) == {f"{module} -> {planted}"}


def assert_without_circle(names: Iterable[str], below: Callable[[str], Iterable[str]]) -> None:
    """Walk down from each name; what has been walked once is not walked again."""
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for each in below(name):
                walk(each, (*above, name))
            done.add(name)

    for name in names:
        walk(name, ())


def test_no_room_stands_above_itself() -> None:
    rule = rules(PAGE.read_text())

    assert_without_circle(rule, lambda room: rule.get(room, ()))  # none of `sockact` itself


def test_a_circle_is_seen_wherever_it_begins() -> None:
    circle = {"a": ["b"], "b": ["d", "c"], "c": ["b"], "d": []}

    with pytest.raises(AssertionError, match="a -> b -> c -> b"):
        assert_without_circle(circle, circle.__getitem__)


def test_the_probe_stands_alone() -> None:
    for module in MODULES:
        if module.startswith("sockact.probe"):
            assert all(name.startswith("sockact.probe") for name in of_sockact(module)), module


def test_few_modules_know_openssl() -> None:
    users = {module for module in MODULES if "ssl" in imported(module)}

    assert users == {
        "sockact.engines.certificates",
        "sockact.engines.http.tls_transport",
        "sockact.probe.tls",
    }


@pytest.mark.parametrize("heavy", ["httptools", "websockets"])
def test_only_the_engines_know_the_http_libraries(heavy: str) -> None:
    users = {module for module in MODULES if heavy in {name.split(".")[0] for name in imported(module)}}

    assert all(module.startswith(("sockact.engines", "sockact.probe")) for module in users)


def test_no_two_modules_import_one_another() -> None:
    assert_without_circle(MODULES, lambda module: of_sockact(module, at_once=True))
