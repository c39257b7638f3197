"""Loading an app: from a module, or by a factory."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.apps import loader
from sockact.errors import AppError, UsageError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give a function that writes the module `release`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> None:
        (tmp_path / "release.py").write_text(source)

    yield write
    sys.modules.pop("release", None)


def load(app: object, *, factory: bool = False) -> Any:
    return loader.make(app, loader.find(app), factory=factory)


@pytest.mark.parametrize("reference", ["release:app", "release:made.inner.app"])
def test_an_app_is_found_by_its_name(module: Callable[[str], None], reference: str) -> None:
    module("def app(): ...\nclass made:\n    class inner:\n        app = staticmethod(app)")

    assert load(reference) is sys.modules["release"].app


@pytest.mark.parametrize(
    "reference", ["release", "release:", ":app", ":", "", ".release:app", "release..x:app", "release:.app"]
)
def test_a_name_of_another_form_is_a_wrong_usage(reference: str) -> None:
    with pytest.raises(UsageError, match="expected module:attribute, such as app:app"):
        load(reference)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "release has no 'app': 'app' is missing"),
        ("app = 3", "'release:app' is a int: expected a callable, such as an ASGI or a WSGI app"),
        ("def app(:", "release cannot be imported: SyntaxError"),
        ("1 / 0", "release cannot be imported: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "release cannot be imported: SystemExit: 0"),
        (
            "import sockact_has_no_such_module",
            "release cannot be imported: ModuleNotFoundError: No module named",
        ),
        ("import rel", "release cannot be imported: ModuleNotFoundError: No module named 'rel'"),
        ("def __getattr__(name): raise RuntimeError('no')", "release has no 'app': RuntimeError: no"),
    ],
)
def test_a_module_that_does_not_give_the_app_is_an_error_of_the_app(
    module: Callable[[str], None], source: str, message: str
) -> None:
    module(source)

    with pytest.raises(AppError) as raised:
        load("release:app")
    assert str(raised.value).startswith(message)
    assert raised.value.exit_status == 1


@pytest.mark.parametrize("reference", ["sockact_has_no_such_module:app", "email.no_such_part:app"])
def test_a_missing_module_is_named_with_the_place_looked_at(reference: str) -> None:
    with pytest.raises(AppError, match=f"no module '{reference[:-4]}' in /.* or on the Python path"):
        load(reference)


@pytest.mark.parametrize(
    ("reference", "factory"),
    [
        ("release:gone", False),
        ("sockact_has_no_such_module:app", False),
        ("release:app", True),
    ],
)
def test_what_no_code_of_the_app_has_raised_needs_no_traceback(
    module: Callable[[str], None], reference: str, factory: bool
) -> None:
    """A cause is logged with its traceback: here it would show nothing but our own code."""
    module("def app(scope): ...")

    with pytest.raises(AppError) as raised:
        load(reference, factory=factory)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("source", "shown"), [("def app(:", []), ("def fails():\n  1 / 0\nfails()", ["<module>", "fails"])]
)
def test_the_traceback_of_an_import_begins_in_the_app(
    module: Callable[[str], None], source: str, shown: list[str]
) -> None:
    module(source)

    with pytest.raises(AppError) as raised:
        load("release:app")

    assert raised.value.__cause__ is not None
    frames = traceback.extract_tb(raised.value.__cause__.__traceback__)
    assert [frame.name for frame in frames] == shown


def test_a_lazy_attribute_that_is_missing_inside_of_the_app_keeps_its_traceback(
    module: Callable[[str], None],
) -> None:
    module("def __getattr__(name): raise AttributeError(name)")

    with pytest.raises(AppError) as raised:
        load("release:app")
    assert isinstance(raised.value.__cause__, AttributeError)


def test_a_factory_gives_the_app() -> None:
    assert load(lambda: print, factory=True) is print


def broken() -> Any:
    raise KeyError("DATABASE_URL")


def leaving() -> Any:
    sys.exit(0)


@pytest.mark.parametrize(("factory", "cause"), [(broken, KeyError), (leaving, SystemExit)])
def test_a_factory_that_fails_is_an_error_of_the_app(
    factory: Callable[[], Any], cause: type[BaseException]
) -> None:
    with pytest.raises(AppError, match=f"the factory .* failed: {cause.__name__}") as raised:
        load(factory, factory=True)
    assert isinstance(raised.value.__cause__, cause)


def test_a_factory_that_gives_no_app_is_an_error_of_the_app() -> None:
    with pytest.raises(AppError, match="is a NoneType: expected a callable"):
        load(lambda: None, factory=True)
