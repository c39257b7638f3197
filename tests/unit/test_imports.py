"""Imports point down, and heavy ones stand in the one module that needs them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sockact

ROOT = Path(sockact.__file__).parent
MODULES = {
    ".".join(("sockact", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imported(module: str, *, at_once: bool = False) -> set[str]:
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
    return found


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


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("sockact.errors", set()),
        ("sockact.fds", {"sockact.errors"}),
        ("sockact.counters", set()),
        ("sockact.visible", set()),
        ("sockact.streams", set()),
        ("sockact.aside", set()),
        ("sockact.folder", set()),
        ("sockact.notify", {"sockact.aside", "sockact.visible"}),
        ("sockact.reporter", {"sockact.counters", "sockact.notify"}),
        ("sockact.values", set()),
        ("sockact.settings", {"sockact.errors", "sockact.values"}),
        ("sockact.loader", {"sockact.errors", "sockact.visible"}),
        ("sockact.files", set()),
        ("sockact.shape", set()),
        ("sockact.locate", {"sockact.errors"}),
        ("sockact.envfile", {"sockact.errors", "sockact.files"}),
        ("sockact.pidfile", {"sockact.errors"}),
        ("sockact.origin", set()),
        ("sockact.logs", {"sockact.streams", "sockact.visible"}),
        ("sockact.signals", set()),
        ("sockact.hangup", set()),
        ("sockact.forked", {"sockact.hangup", "sockact.signals"}),
        ("sockact.place", {"sockact.errors", "sockact.logs"}),
        ("sockact.drain", {"sockact.counters"}),
        ("sockact.hooks", {"sockact.errors"}),
        ("sockact.hookrunner", {"sockact.errors", "sockact.hooks", "sockact.visible"}),
        ("sockact.tasks", set()),
        ("sockact.inside", {"sockact.errors", "sockact.program", "sockact.tasks"}),
        ("sockact.recycling", {"sockact.counters"}),
        ("sockact.reloads", {"sockact.control"}),
        ("sockact.reports", {"sockact.counters", "sockact.reporter"}),
        ("sockact.consent", {"sockact.errors", "sockact.reporter"}),
        ("sockact.worker_exits", {"sockact.reporter"}),
        ("sockact.ownsignals", {"sockact.signals"}),
        ("sockact.listen", {"sockact.errors", "sockact.fds"}),
    ],
)
def test_the_low_modules_stand_on_little(module: str, allowed: set[str]) -> None:
    assert of_sockact(module) <= allowed


def test_the_lifecycle_does_not_know_what_it_leads() -> None:
    high = {"sockact.worker", "sockact.loader", "sockact.canary", "sockact.cli"}

    assert not of_sockact("sockact.lifecycle") & high
    assert not {name for name in of_sockact("sockact.lifecycle") if name.startswith("sockact.engines")}


def test_the_probe_stands_alone() -> None:
    for module in MODULES:
        if module.startswith("sockact.probe"):
            assert all(name.startswith("sockact.probe") for name in of_sockact(module)), module


def test_few_modules_know_openssl() -> None:
    users = {module for module in MODULES if "ssl" in imported(module)}

    assert users == {"sockact.tls", "sockact.engines.encrypted", "sockact.probe.tls"}


@pytest.mark.parametrize("heavy", ["uvicorn", "a2wsgi", "httptools", "websockets"])
def test_only_the_engines_know_the_http_libraries(heavy: str) -> None:
    users = {module for module in MODULES if heavy in {name.split(".")[0] for name in imported(module)}}

    assert all(module.startswith(("sockact.engines", "sockact.probe")) for module in users)


def test_no_two_modules_import_one_another() -> None:
    def below(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        for name in of_sockact(module, at_once=True):
            below(name, (*above, module))

    for module in MODULES:
        below(module, ())
