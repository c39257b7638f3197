"""ASGI or WSGI: told by the shape of the call."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sockact import loader
from sockact.errors import AppError, UsageError

# ruff: noqa: ARG002, ARG005  the signatures are the point


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def asgi_with_more(config: Any, scope: Any, receive: Any, send: Any, debug: bool = False) -> None: ...


async def asgi_of_anything(*args: Any, **kwargs: Any) -> None: ...


def asgi_by_return(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    return asgi(scope, receive, send)


def asgi2(scope: Any) -> Callable[[Any, Any], Awaitable[None]]:
    return partial(asgi, scope)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def wsgi_with_default(environ: Any, start_response: Any, debug: bool = False) -> list[bytes]:
    return []


def wsgi_with_more(config: Any, environ: Any, start_response: Any) -> list[bytes]:
    return []


def wsgi_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b""


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...

    @classmethod
    async def of_class(cls, scope: Any, receive: Any, send: Any) -> None: ...

    @staticmethod
    async def of_nobody(scope: Any, receive: Any, send: Any) -> None: ...


class InheritedAsgi(Asgi): ...


class AsgiOfAnything:
    async def __call__(self, *args: Any) -> None: ...


class AsgiByReturn:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return asgi(scope, receive, send)


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []

    def method(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class InheritedWsgi(Wsgi): ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class AwaitedAsgi:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Generator[None, None, None]:
        yield


class AwaitedAsgiWithConfig:
    def __init__(self, config: Any, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Generator[None, None, None]:
        yield


class IteratedWsgi:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


class IteratedWsgiWithConfig(IteratedWsgi):
    def __init__(self, config: Any, environ: Any, start_response: Any) -> None: ...


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def traced_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class AsgiWithTracedCall:
    @traced
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class AsgiWithTracedCallOfAnything:
    @traced
    async def __call__(self, *args: Any) -> None: ...


class Attentive:
    """Has every attribute, as a proxy or a mock does."""

    def __getattr__(self, name: str) -> Any:
        return Attentive()

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        # Functions.
        (asgi, "asgi"),
        (asgi_of_anything, "asgi"),
        (asgi_by_return, "asgi"),
        (asgi2, "asgi2"),
        (wsgi, "wsgi"),
        (wsgi_with_default, "wsgi"),
        (wsgi_generator, "wsgi"),
        (lambda scope, receive, send: None, "asgi"),
        (lambda environ, start_response: [], "wsgi"),
        # Methods.
        (Asgi().method, "asgi"),
        (Asgi.of_class, "asgi"),
        (Asgi.of_nobody, "asgi"),
        (Wsgi().method, "wsgi"),
        # Instances.
        (Asgi(), "asgi"),
        (InheritedAsgi(), "asgi"),
        (AsgiOfAnything(), "asgi"),
        (AsgiByReturn(), "asgi"),
        (Wsgi(), "wsgi"),
        (InheritedWsgi(), "wsgi"),
        # Classes.
        (Asgi2, "asgi2"),
        (AwaitedAsgi, "asgi"),
        (IteratedWsgi, "wsgi"),
        # Partials.
        (partial(asgi_with_more, "config"), "asgi"),
        (partial(partial(asgi_with_more, "config"), debug=True), "asgi"),
        (partial(wsgi_with_more, "config"), "wsgi"),
        (partial(wsgi_with_default, debug=True), "wsgi"),
        (partial(Asgi().method), "asgi"),
        (partial(Wsgi().method), "wsgi"),
        (partial(Asgi()), "asgi"),
        (partial(AsgiOfAnything()), "asgi"),
        (partial(Wsgi()), "wsgi"),
        (partial(Asgi2), "asgi2"),
        (partial(AwaitedAsgiWithConfig, "config"), "asgi"),
        (partial(IteratedWsgiWithConfig, "config"), "wsgi"),
        # Decorated.
        (traced(asgi), "asgi"),
        (traced(asgi_of_anything), "asgi"),
        (traced_async(asgi), "asgi"),
        (traced(traced(asgi2)), "asgi2"),
        (traced(wsgi), "wsgi"),
        (traced(Wsgi().method), "wsgi"),
        (AsgiWithTracedCall(), "asgi"),
        (AsgiWithTracedCallOfAnything(), "asgi"),
        (partial(traced(asgi_with_more), "config"), "asgi"),
    ],
)
def test_an_app_is_told_by_the_shape_of_its_call(app: Callable[..., Any], expected: str) -> None:
    assert loader.interface(app) == expected


@pytest.mark.parametrize(
    "app",
    [
        lambda *args: None,
        lambda environ, *args: None,
        lambda a, b, c, d: None,
        Attentive(),
        type("Proxy", (), {"__call__": lambda self, *args: None})(),
    ],
)
def test_an_ambiguous_app_is_an_error_that_names_the_setting(app: Callable[..., Any]) -> None:
    with pytest.raises(AppError, match=r"say interface='asgi' or 'wsgi' \(--interface\)"):
        loader.interface(app)


@pytest.mark.parametrize("app", [lambda: asgi, Asgi, Wsgi, partial(wsgi, "environ", "start_response")])
def test_an_app_without_arguments_is_an_error_that_hints_at_a_factory(app: Callable[..., Any]) -> None:
    with pytest.raises(
        AppError, match=r"takes no arguments: a factory\? then say factory=True \(--factory\)"
    ):
        loader.interface(app)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give a function that writes the module `release`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> None:
        (tmp_path / "release.py").write_text(source)

    yield write
    sys.modules.pop("release", None)


@pytest.mark.parametrize("reference", ["release:app", "release:made.inner.app"])
def test_an_app_is_found_by_its_name(module: Callable[[str], None], reference: str) -> None:
    module("def app(): ...\nclass made:\n    class inner:\n        app = staticmethod(app)")

    assert loader.load(reference) is sys.modules["release"].app


@pytest.mark.parametrize("reference", ["release", "release:", ":app", ":", ""])
def test_a_name_of_another_form_is_a_wrong_usage(reference: str) -> None:
    with pytest.raises(UsageError, match="expected module:attribute, such as app:app"):
        loader.load(reference)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "release has no 'app': 'app' is missing"),
        ("app = 3", "'release:app' is a int: expected a callable, an ASGI or a WSGI app"),
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
        loader.load("release:app")
    assert str(raised.value).startswith(message)
    assert raised.value.exit_status == 1


@pytest.mark.parametrize("reference", ["sockact_has_no_such_module:app", "email.no_such_part:app"])
def test_a_missing_module_is_named_with_the_place_looked_at(reference: str) -> None:
    with pytest.raises(AppError, match=f"no module '{reference[:-4]}' in /.* or on the Python path"):
        loader.load(reference)


def test_a_factory_gives_the_app() -> None:
    assert loader.load(lambda: wsgi, factory=True) is wsgi


def broken() -> Any:
    raise KeyError("DATABASE_URL")


def leaving() -> Any:
    sys.exit(0)


@pytest.mark.parametrize(("factory", "cause"), [(broken, KeyError), (leaving, SystemExit)])
def test_a_factory_that_fails_is_an_error_of_the_app(
    factory: Callable[[], Any], cause: type[BaseException]
) -> None:
    with pytest.raises(AppError, match=f"the factory .* failed: {cause.__name__}") as raised:
        loader.load(factory, factory=True)
    assert isinstance(raised.value.__cause__, cause)


def test_a_factory_that_gives_no_app_is_an_error_of_the_app() -> None:
    with pytest.raises(AppError, match="is a NoneType: expected a callable"):
        loader.load(lambda: None, factory=True)
