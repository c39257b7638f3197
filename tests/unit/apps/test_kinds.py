"""The kind of an app is told by the shape of its call."""

from __future__ import annotations

import functools
import socketserver
from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from sockact.apps import kinds
from sockact.config import settings
from sockact.errors import AppError

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


async def stream(reader: Any, writer: Any) -> None: ...


async def stream_with_state(reader: Any, writer: Any, *, state: bytes = b"") -> None: ...


async def stream_with_more(config: Any, reader: Any, writer: Any) -> None: ...


class Stream:
    async def __call__(self, reader: Any, writer: Any) -> None: ...

    async def method(self, reader: Any, writer: Any) -> None: ...


async def datagram(data: Any, address: Any, reply: Any) -> None: ...


def connection(sock: Any) -> None: ...


async def connection_async(sock: Any) -> None: ...


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
        # Handlers of other protocols.
        (stream, "stream"),
        (stream_with_state, "stream"),
        (Stream(), "stream"),
        (Stream().method, "stream"),
        (datagram, "datagram"),
        (connection, "socket"),
        (connection_async, "socket"),
        (socketserver.StreamRequestHandler, "requests"),
        (type("Echo", (socketserver.DatagramRequestHandler,), {}), "requests"),
        # Partials.
        (partial(stream_with_more, "config"), "stream"),
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
    assert kinds.kind_of(app) == expected


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
    with pytest.raises(AppError, match=r"say kind='asgi' or 'wsgi' \(--kind\)"):
        kinds.kind_of(app)


@pytest.mark.parametrize("app", [lambda: asgi, Asgi, Wsgi, partial(wsgi, "environ", "start_response")])
def test_an_app_without_arguments_is_an_error_that_hints_at_a_factory(app: Callable[..., Any]) -> None:
    with pytest.raises(
        AppError, match=r"takes no arguments: a factory\? then say factory=True \(--factory\)"
    ):
        kinds.kind_of(app)


async def nothing() -> None: ...


async def four(a: Any, b: Any, c: Any, d: Any) -> None: ...


async def required_by_name(scope: Any, receive: Any, send: Any, *, debug: bool) -> None: ...


@pytest.mark.parametrize("app", [nothing, four, required_by_name])
def test_an_async_callable_that_fits_no_call_is_no_app(app: Callable[..., Any]) -> None:
    """It would get ready, and answer each request with 500."""
    with pytest.raises(AppError, match=r"^\w+ takes neither \(scope, receive, send\) nor .*--kind"):
        kinds.kind_of(app)


def test_the_setting_has_the_kinds_of_the_table() -> None:
    assert set(settings.KINDS) == set(kinds.TABLE)


def test_an_async_callable_with_defaults_for_all_is_asgi() -> None:
    async def app(scope: Any = None, receive: Any = None, send: Any = None) -> None: ...

    assert kinds.kind_of(app) == "asgi"
