"""Tells whether an app can be imported, without running its code: `sockact check` is often run by root.

Only what is certain is told: a module that is nowhere, a syntax error, a name that a module does not have.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator

from sockact.check import reachable
from sockact.check.command import CommandLine
from sockact.check.unit import CheckedUnit

REFERENCE = re.compile(r"(?:[\w-]+=)?([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?:\(.*\))?")
FOLDERS = ("--chdir", "--app-dir", "--pythonpath", "--working-dir")
ELSEWHERE = ("PYTHONPATH", "PYTHONHOME")


def folders(unit: CheckedUnit, command: CommandLine) -> list[str]:
    """Return the folders from which the app may be imported, without those of packages."""
    given = [path for name in FOLDERS for path in (command.option(name) or "").split(",")]
    found = [path for path in given if path.startswith("/")]
    working = unit.value("Service.WorkingDirectory").lstrip("-")
    return [*found, *([working] if working.startswith("/") else [])]


def problem(unit: CheckedUnit, command: CommandLine) -> str:
    """Return the reason why the app of a server cannot be imported; '' if none is certain."""
    references = [match for word in command.inner[1:] if (match := REFERENCE.fullmatch(word))]
    places = folders(unit, command)
    if (
        not references
        or not places
        or "%" in "".join(places)
        or any(n in unit.environment for n in ELSEWHERE)
    ):
        return ""
    module, attribute = references[-1][1], references[-1][2]
    source = _source(module, places)
    if source is None:
        return (
            "" if _may_be_elsewhere(command, module) else f"there is no {module} in {' or '.join(places)}"
        )
    text = reachable.text_of(source)
    if text is None or not source.endswith(".py"):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return f"{source}{f', line {line}' if line else ''}: {getattr(error, 'msg', error)}"
    names = set(_names(tree.body))
    first = attribute.partition(".")[0]
    if first in names or names & {"*", "__getattr__"} or _is_module(module, first, places):
        return ""
    return f"{source} has no {first}"


def _source(module: str, places: list[str]) -> str | None:
    """Return the file of a module; its folder, for one without; None if it is in none of the places."""
    relative = module.replace(".", "/")
    for place in places:
        for path in (f"{place}/{relative}/__init__.py", f"{place}/{relative}.py"):
            if os.path.isfile(path):
                return path
        if os.path.isdir(f"{place}/{relative}"):
            return f"{place}/{relative}"
        top = f"{place}/{relative.rpartition('/')[0]}"
        stem = module.rpartition(".")[2]
        if any(name.startswith(f"{stem}.") and name.endswith(".so") for name in _listed(top)):
            return f"{top}/{module}.so"  # compiled
    return None


def _is_module(module: str, name: str, places: list[str]) -> bool:
    return _source(f"{module}.{name}", places) is not None


def _may_be_elsewhere(command: CommandLine, module: str) -> bool:
    """Return whether packages may have a module: they are unknown, have it, or name other folders."""
    installed = reachable.packages_of(command)
    top = module.partition(".")[0]
    return not installed or any(
        name == top or name.startswith(f"{top}.") or (name.endswith(".pth") and "distutils" not in name)
        for name in installed
    )


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that a module binds when it is imported."""
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue  # names inside are its own
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Name) and node.id in ("globals", "exec", "setattr", "vars"):
            yield "*"  # may bind any name
        todo += ast.iter_child_nodes(node)
