"""Finds the app: imports `module:attribute`, and tells an ASGI app from a WSGI app.

What tells them apart is the shape of the call, not the framework:

    async, or three arguments    ASGI 3    app(scope, receive, send)
    two arguments                WSGI      app(environ, start_response)
    one argument                 ASGI 2    app(scope)(receive, send)
    a class that is awaitable    ASGI 3    its instances are the calls
    a class that is iterable     WSGI      its instances are the responses (PEP 3333)
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sockact.errors import AppError, UsageError

_KINDS_BY_ARGUMENTS = {1: "asgi2", 2: "wsgi", 3: "asgi"}


def enter(directory: str) -> None:
    """Make `directory`, or without one the present directory, the place to import from.

    It is resolved first: a release behind a symbolic link stays the same one for this process,
    also when the link moves on while modules are still imported lazily.
    """
    if directory:
        try:
            os.chdir(os.path.realpath(directory))
        except OSError as error:
            raise AppError(f"chdir={directory!r}: {error.strerror}") from error
    sys.path.insert(0, os.getcwd())


def load(app: object, *, factory: bool = False) -> Any:
    """Return the app itself.

    Args:
        app: a callable, or a string `module:attribute`; the attribute may be dotted.
        factory: whether it is a callable without arguments that returns the app.

    Raises:
        UsageError: a string is not of that form.
        AppError: it cannot be imported; the cause is the exception of the app's code.
    """
    found: Any = _imported(app) if isinstance(app, str) else app
    if factory:
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise AppError(f"the factory {app!r} failed: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise AppError(f"{app!r} is a {type(found).__name__}: expected a callable, an ASGI or a WSGI app")
    return found


def interface(app: Callable[..., Any]) -> str:
    """Tell what `app` speaks: `asgi`, `asgi2` or `wsgi`.

    Raises:
        AppError: it cannot be told; names the settings that help.
    """
    if inspect.isclass(app):
        if hasattr(app, "__await__"):
            return "asgi"
        if hasattr(app, "__iter__"):
            return "wsgi"
    elif _is_async(app):
        return "asgi"
    wanted = _required_arguments(app)
    if wanted == 0:
        raise AppError(f"{_name(app)} takes no arguments: a factory? then say factory=True (--factory)")
    if wanted not in _KINDS_BY_ARGUMENTS:
        raise AppError(
            f"{_name(app)} takes neither (scope, receive, send) nor (environ, start_response): "
            "say interface='asgi' or 'wsgi' (--interface)"
        )
    return _KINDS_BY_ARGUMENTS[wanted]


def _imported(reference: str) -> Any:
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"{reference!r}: expected module:attribute, such as app:app")
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:
        # Also SystemExit: a module that calls sys.exit while it is imported has failed to load.
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise AppError(f"no module {error.name!r} in {os.getcwd()} or on the Python path") from error
        raise AppError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise AppError(f"{module_name} has no {attribute!r}: {part!r} is missing") from error
        except Exception as error:  # a lazy attribute is the app's code too
            raise AppError(
                f"{module_name} has no {attribute!r}: {type(error).__name__}: {error}"
            ) from error
    return found


def _is_async(app: Callable[..., Any]) -> bool:
    while isinstance(app, partial):
        app = app.func
    # The method of the type, inherited or not, is what Python calls.
    called = None if inspect.isroutine(app) else inspect.getattr_static(type(app), "__call__", None)
    return any(inspect.iscoroutinefunction(_unwrapped(one)) for one in (app, called))


def _unwrapped(found: Any) -> Any:
    try:
        return inspect.unwrap(found)
    except ValueError:
        return found  # a proxy that has every attribute, `__wrapped__` too


def _required_arguments(app: Callable[..., Any]) -> int | None:
    """Count the positional arguments without a default; None when the signature does not say."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        parameter.kind in positional and parameter.default is parameter.empty for parameter in parameters
    )


def _name(app: object) -> str:
    return getattr(app, "__qualname__", None) or f"{type(app).__name__} object"
