"""Imports an app by its reference `module:attribute`."""

from __future__ import annotations

import importlib
import os
import sys
from types import TracebackType
from typing import Any

from sockact.errors import AppError, UsageError, similar
from sockact.untrusted.text import told


def enter(directory: str) -> None:
    """Change to `directory`, if one is given, and import from the working directory from now on.

    Symbolic links are resolved first: a process keeps its release also if `current` is switched to another
    one while modules are still imported lazily.
    """
    if directory:
        try:
            os.chdir(os.path.realpath(directory))
        except OSError as error:
            raise AppError(f"chdir={directory!r}: {error.strerror}") from None
    try:
        sys.path.insert(0, os.getcwd())
    except OSError as error:
        raise AppError(f"cannot import from the working directory: {error.strerror}") from None


def find(app: object) -> Any:
    """Import an app, or its factory; outside the event loop, since a module may run one at its import.

    Args:
        app: a callable, or a string `module:attribute`; the attribute may be dotted.

    Raises:
        UsageError: the string does not have this form.
        AppError: the app cannot be imported; the cause is the exception of its code.
    """
    return _imported(app) if isinstance(app, str) else app


def make(app: object, found: Any, *, factory: bool = False) -> Any:
    """Return the app itself; inside the event loop that serves, where a factory may start tasks.

    Args:
        app: its name in errors.
        found: the result of `find`.
        factory: whether that is a callable without arguments that returns the app.

    Raises:
        AppError: the factory has failed, or the result is no app; the cause is the exception of its code.
    """
    if factory:
        try:
            found = found()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised anew
            text = f"the factory {app!r} failed: {told(error)}"
            raise AppError(text) from _apps(error)
    if not callable(found):
        raise AppError(
            f"{app!r} is a {type(found).__name__}: expected a callable, such as an ASGI or a WSGI app"
        )
    return found


def parts(reference: str) -> tuple[str, str]:
    """Return the module and the attribute in `reference`; raises UsageError for another form."""
    module_name, colon, attribute = reference.partition(":")
    # A relative module is refused too: there is no package that it could be relative to.
    if not (colon and all(module_name.split(".")) and all(attribute.split("."))):
        raise UsageError(f"{reference!r}: expected module:attribute, such as app:app")
    return module_name, attribute


def _imported(reference: str) -> Any:
    module_name, attribute = parts(reference)
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:
        # Also SystemExit: a module that calls sys.exit while it is imported has failed to load.
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise AppError(
                f"no module {error.name!r} in {_here()} or on the Python path{_similar_module(error.name)}"
            ) from None
        text = f"{module_name} cannot be imported: {told(error)}"
        raise AppError(text) from error.with_traceback(_in_the_app(error))
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise AppError(
                f"{module_name} has no {attribute!r}: {part!r} is missing{similar(part, dir(found))}"
            ) from _apps(error)
        except Exception as error:  # a lazy attribute is the app's code too
            raise AppError(f"{module_name} has no {attribute!r}: {told(error)}") from error
    return found


def _similar_module(name: str | None) -> str:
    """Return a question, if there is a module of a similar name in the working directory."""
    try:
        names = [each.removesuffix(".py") for each in os.listdir() if "." not in each.removesuffix(".py")]
    except OSError:
        return ""
    return similar(name or "", names)


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "the working directory"


def _in_the_app(error: BaseException) -> TracebackType | None:
    """Return the traceback of a failed import from the app's code on: above it is only the import."""
    above = (__file__, importlib.__file__)
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name not in above and not name.startswith("<frozen importlib."):
            break
        traceback = traceback.tb_next
    return traceback


def _apps(error: BaseException) -> BaseException | None:
    """Return `error` as a cause, for its traceback, if code of the app has raised it.

    The message of an error that our own line has raised says everything; its traceback would only show
    sockact's code.
    """
    traceback = error.__traceback__
    return None if traceback is None or traceback.tb_next is None else error
