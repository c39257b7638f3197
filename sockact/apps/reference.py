"""Finds the app that is meant by what people write, without importing it.

    main:app                          itself
    main.py:app, ./pkg/main.py:app    the module of a file below the directory
    main, main.py, pkg.main           its app, by one of `NAMES`
    main.app                          an attribute, if there is no such module
    (nothing)                         an app in the first of `FILES` that has one

The source is parsed, not run: a supervisor imports no code of the app.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from sockact.errors import UsageError
from sockact.untrusted import files

if TYPE_CHECKING:
    import ast

FACTORIES = ("create_app", "make_app")
"""The names of functions that return an app."""

NAMES = ("app", "application", *FACTORIES)
"""The names of apps, the best one first."""

FILES = ("app.py", "main.py", "asgi.py", "wsgi.py", "app/__init__.py", "app/main.py", "manage.py")
"""The files in which an app is looked for, the best one first."""

DJANGO = "manage.py"

_SETTINGS = re.compile(rb"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)\.settings[\w.]*["']""")
"""The line that `django-admin startproject` writes into manage.py."""


class Reference(NamedTuple):
    """An app that was found.

    Attributes:
        text: `module:attribute`.
        factory: whether that is a function which returns the app.
    """

    text: str
    factory: bool = False


def complete(word: str, directory: str) -> Reference:
    """Return the app that a word means.

    Args:
        word: what the user wrote.
        directory: the directory from which apps are imported.

    Raises:
        UsageError: it means no app; the text says what was found.
    """
    place, colon, attribute = word.partition(":")
    module = _module_of_path(place) if place.endswith(".py") or "/" in place else place
    if colon:
        return Reference(f"{module}:{attribute}")
    path = _source(module, directory)
    if path is None:
        return _dotted(word, module, directory)
    return _in_file(module, path) or _nothing(word, path)


def find(directory: str) -> Reference:
    """Return the app in a directory; raises UsageError if there is none."""
    for name in FILES:
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            found = _of_django(path) if name == DJANGO else _in_file(_module_of_path(name), path)
            if found is not None:
                return found
    raise UsageError(
        f"no app: expected MODULE:ATTRIBUTE, such as main:app, or {', '.join(NAMES[:2])} or {NAMES[2]}"
        f" in {', '.join(FILES[:4])} or manage.py in {os.path.abspath(directory)};"
        " or -- PROGRAM ARGUMENT..."
    )


def _module_of_path(path: str) -> str:
    """Return the name by which a file is imported: `pkg.main` of ./pkg/main.py."""
    parts = os.path.normpath(path).removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _source(module: str, directory: str) -> str | None:
    """Return the file of a module below a directory; None if there is none."""
    base = os.path.join(directory, *module.split("."))
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if os.path.isfile(path)), None)


def _dotted(word: str, module: str, directory: str) -> Reference:
    parent, _, attribute = module.rpartition(".")
    path = _source(parent, directory) if parent else None
    if path is not None and attribute in _names(path):
        return Reference(f"{parent}:{attribute}", factory=attribute in FACTORIES)
    if path is not None:
        _nothing(f"{parent}:{attribute}", path)
    raise UsageError(
        f"{word!r}: expected module:attribute, such as app:app; there is no {module.replace('.', '/')}.py"
        f" in {os.path.abspath(directory)}"
    )


def _in_file(module: str, path: str) -> Reference | None:
    names = set(_names(path))
    found = next((name for name in NAMES if name in names), None)
    return None if found is None else Reference(f"{module}:{found}", factory=found in FACTORIES)


def _nothing(word: str, path: str) -> NoReturn:
    raise UsageError(
        f"{word!r}: expected module:attribute, such as app:app; {path} has none of {', '.join(NAMES)}"
    )


def _of_django(path: str) -> Reference | None:
    """Return the app of a Django project: of the package whose settings manage.py names."""
    match = _SETTINGS.search(_read(path))
    return None if match is None else Reference(f"{match[1].decode()}.wsgi:application")


def _read(path: str) -> bytes:
    try:
        return files.read(path)
    except OSError:
        return b""  # its import says why


def _names(path: str) -> Sequence[str]:
    """Return the names that a module defines; none if it cannot be parsed, which its import explains."""
    import ast  # only a command that names no attribute needs it

    try:
        return list(_defined(ast.parse(_read(path)).body))
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    import ast

    for statement in body:
        match statement:
            case ast.FunctionDef(name=name, args=arguments) if name in FACTORIES:
                given = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
                if len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) == len(given):
                    yield name  # it can be called without arguments
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (each.asname or each.name for each in names)
            case ast.If(body=inner, orelse=other) | ast.Try(body=inner, orelse=other):
                yield from _defined([*inner, *other])
            case ast.With(body=inner):
                yield from _defined(inner)
