"""The kinds of apps, in one table: `TABLE` says how each is recognised, called and served.

An app's kind is recognised by the shape of its call, not by its framework. The first row that fits counts:

    kind       recognised by                              called as
    requests   a handler class of socketserver            handler(request, address, server), in a thread
    datagram   async, `data` and two more arguments       await app(data, address, reply)
    stream     async, two arguments                       await app(reader, writer)
    asgi2      one argument, called `scope`               await app(scope)(receive, send)
    socket     one argument                               app(connection), in a thread, or awaited
    wsgi       two arguments, or an iterable class        app(environ, start_response), in a thread
    asgi       async, an awaitable class, or three args   await app(scope, receive, send)

Instances of an awaitable class are the calls; those of an iterable class are the responses (PEP 3333).
"""

from __future__ import annotations

import enum
import inspect
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sockact.errors import ActivationError, AppError
from sockact.sockets.fds import Kind, Listener


class EngineType(enum.Enum):
    """The engines that serve apps."""

    HTTP = "http"
    STREAM = "stream"
    DATAGRAM = "datagram"


class Form(enum.Enum):
    """The first thing that tells kinds of apps apart."""

    HANDLER_CLASS = enum.auto()
    AWAITABLE_CLASS = enum.auto()
    ITERABLE_CLASS = enum.auto()
    ASYNC = enum.auto()
    CALL = enum.auto()


class Shape(NamedTuple):
    """The shape of an app's call.

    Attributes:
        form: what is called.
        arguments: names of the positional arguments without a default; None if the signature is unknown.
    """

    form: Form
    arguments: tuple[str, ...] | None

    def takes(self, count: int) -> bool:
        """Tell whether it takes so many arguments."""
        return self.arguments is not None and len(self.arguments) == count


class AppKind(NamedTuple):
    """A kind of app: one row of the table.

    Attributes:
        name: its name in the setting `kind`.
        fits: tells whether an app with this shape is of this kind, if no earlier row fits.
        engines: the engine for each kind of socket that it can be served on.
    """

    name: str
    fits: Callable[[Shape], bool]
    engines: Mapping[Kind, EngineType]


def _is_datagram(shape: Shape) -> bool:
    arguments = shape.arguments
    return shape.form is Form.ASYNC and shape.takes(3) and arguments is not None and arguments[0] == "data"


def _is_stream(shape: Shape) -> bool:
    return shape.form is Form.ASYNC and shape.takes(2)


def _is_asgi2(shape: Shape) -> bool:
    return shape.form is Form.CALL and shape.arguments == ("scope",)


def _is_socket(shape: Shape) -> bool:
    return shape.form in (Form.ASYNC, Form.CALL) and shape.takes(1)


def _is_wsgi(shape: Shape) -> bool:
    return shape.form is Form.ITERABLE_CLASS or (shape.form is Form.CALL and shape.takes(2))


def _is_asgi(shape: Shape) -> bool:
    is_call = shape.form is Form.CALL and shape.takes(3)
    return is_call or shape.form in (Form.ASYNC, Form.AWAITABLE_CLASS)


_HTTP = {Kind.STREAM: EngineType.HTTP}
_STREAM = {Kind.STREAM: EngineType.STREAM}
_SEQPACKET = {Kind.SEQPACKET: EngineType.STREAM}
_DATAGRAM = {Kind.DATAGRAM: EngineType.DATAGRAM}

TABLE = {
    kind.name: kind
    for kind in (
        AppKind("requests", lambda shape: shape.form is Form.HANDLER_CLASS, {**_STREAM, **_DATAGRAM}),
        AppKind("datagram", _is_datagram, _DATAGRAM),
        AppKind("stream", _is_stream, _STREAM),
        AppKind("asgi2", _is_asgi2, _HTTP),
        AppKind("socket", _is_socket, {**_STREAM, **_SEQPACKET}),
        AppKind("wsgi", _is_wsgi, _HTTP),
        AppKind("asgi", _is_asgi, _HTTP),
    )
}
"""The kinds by name; `sockact.config.settings.KINDS` has the same names."""

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
"""Address families whose connections uvloop serves, and whose connections can move between processes."""


def kind_of(app: Callable[..., Any]) -> str:
    """Return the name of an app's kind.

    Raises:
        AppError: no kind fits; names the settings that help.
    """
    shape = Shape(_form(app), _required_arguments(app))
    if shape.form is Form.CALL and shape.arguments == ():
        raise AppError(f"{_name(app)} takes no arguments: a factory? then say factory=True (--factory)")
    kind = next((kind.name for kind in TABLE.values() if kind.fits(shape)), None)
    if kind is None:
        raise AppError(
            f"{_name(app)} takes neither (scope, receive, send) nor (environ, start_response): "
            "say kind='asgi' or 'wsgi' (--kind)"
        )
    if kind == "asgi" and shape.form is Form.ASYNC:
        _require_asgi_arguments(app)
    return kind


def engine_for(kind: str, listeners: Sequence[Listener]) -> EngineType:
    """Return the engine for an app of this kind on listeners of one kind, perhaps on none."""
    engines = TABLE[kind].engines
    return engines[listeners[0].kind] if listeners else next(iter(engines.values()))


def require_served_on(kind: str, listeners: Sequence[Listener]) -> None:
    """Raise ActivationError if an app of this kind cannot be served on one of `listeners`."""
    for listener in listeners:
        if listener.kind not in TABLE[kind].engines or not _is_open_to_clients(listener):
            raise ActivationError(
                f"descriptor {listener.fd} ({listener.name}) is a {_found(listener)}: "
                f"expected {_expected(kind)}"
            )
        if listener.sock is not None and listener.sock.family not in _FAMILIES:
            family = getattr(listener.sock.family, "name", f"address family {listener.sock.family}")
            raise ActivationError(
                f"descriptor {listener.fd} ({listener.name}={listener.address}) is a socket of {family}: "
                "expected one of IPv4, IPv6 or Unix; a program takes others by sockact.adopt()"
            )


def takes_state(handler: Callable[..., Any]) -> bool:
    """Tell whether a handler has the keyword `state`, for connections that were handed over."""
    try:
        return "state" in inspect.signature(handler).parameters
    except (TypeError, ValueError):
        return False


def is_async(app: Callable[..., Any]) -> bool:
    """Tell whether calling `app` returns a coroutine."""
    while isinstance(app, partial):
        app = app.func
    # Python calls the method of the type, inherited or not.
    called = None if inspect.isroutine(app) else inspect.getattr_static(type(app), "__call__", None)
    return any(inspect.iscoroutinefunction(_unwrapped(one)) for one in (app, called))


def _form(app: Callable[..., Any]) -> Form:
    if inspect.isclass(app):
        socketserver = sys.modules.get("socketserver")  # has been imported where such a class was made
        if socketserver is not None and issubclass(app, socketserver.BaseRequestHandler):
            return Form.HANDLER_CLASS
        if hasattr(app, "__await__"):
            return Form.AWAITABLE_CLASS
        return Form.ITERABLE_CLASS if hasattr(app, "__iter__") else Form.CALL
    return Form.ASYNC if is_async(app) else Form.CALL


def _require_asgi_arguments(app: Callable[..., Any]) -> None:
    """Raise AppError if a call of an async app with three arguments would fail, at each request."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return  # unknown
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise AppError(
            f"{_name(app)} takes neither (scope, receive, send) nor (reader, writer) nor (data, address, "
            "reply) nor a connection: say what it is by kind (--kind)"
        ) from None


def _is_open_to_clients(listener: Listener) -> bool:
    return listener.kind is Kind.DATAGRAM or listener.listening or listener.connected


def _found(listener: Listener) -> str:
    bare = listener.kind in (Kind.STREAM, Kind.SEQPACKET) and not _is_open_to_clients(listener)
    return f"{listener.kind.value} that does not listen" if bare else listener.kind.value


def _expected(kind: str) -> str:
    return " or ".join(
        f"a {'' if served is Kind.DATAGRAM else 'listening '}{served.value}"
        for served in TABLE[kind].engines
    )


def _unwrapped(found: Any) -> Any:
    try:
        return inspect.unwrap(found)
    except ValueError:
        return found  # a proxy that has every attribute, also `__wrapped__`


def _required_arguments(app: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the positional arguments without a default; None if the signature is unknown."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind in positional and parameter.default is parameter.empty
    )


def _name(app: object) -> str:
    return getattr(app, "__qualname__", None) or f"{type(app).__name__} object"
