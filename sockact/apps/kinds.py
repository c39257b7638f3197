"""Tells what an app is, and what is to be served by it.

What tells is the shape of the call, not the framework:

    a handler class of socketserver    requests    handler(request, client_address, server)
    a class that is awaitable          asgi        its instances are the calls
    a class that is iterable           wsgi        its instances are the responses (PEP 3333)
    async, two arguments               stream      await app(reader, writer)
    async, one argument                socket      await app(connection)
    async, `data` and two more         datagram    await app(data, address, reply)
    async otherwise, or three          asgi        await app(scope, receive, send)
    two arguments                      wsgi        app(environ, start_response)
    one argument called `scope`        asgi2       await app(scope)(receive, send)
    one argument of another name       socket      app(connection), in a thread
"""

from __future__ import annotations

import inspect
import socket
import socketserver
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sockact.errors import ActivationError, AppError
from sockact.sockets.fds import Kind, Listener

HTTP = ("asgi", "asgi2", "wsgi")
"""Which of them are apps that answer requests over HTTP."""

_STREAMS = (Kind.STREAM,)
SERVED_ON: dict[str, tuple[Kind, ...]] = {
    "asgi": _STREAMS,
    "asgi2": _STREAMS,
    "wsgi": _STREAMS,
    "stream": _STREAMS,
    "datagram": (Kind.DATAGRAM,),
    "requests": (Kind.STREAM, Kind.DATAGRAM),
    "socket": (Kind.STREAM, Kind.SEQPACKET),
}
"""On what each kind of app can be served."""

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
"""Whose connections uvloop takes, and the kernel lets move between processes."""

_SYNC = {2: "wsgi", 3: "asgi"}
_ASYNC = {1: "socket", 2: "stream"}


def kind_of(app: Callable[..., Any]) -> str:
    """Tell what `app` is, by one of the words above.

    Raises:
        AppError: it cannot be told; names the settings that help.
    """
    if inspect.isclass(app):
        if issubclass(app, socketserver.BaseRequestHandler):
            return "requests"
        if hasattr(app, "__await__"):
            return "asgi"
        if hasattr(app, "__iter__"):
            return "wsgi"
    required = _required_arguments(app)
    if not inspect.isclass(app) and is_async(app):
        if required and len(required) == 3 and required[0] == "data":
            return "datagram"
        return _ASYNC.get(len(required or ())) or _asgi(app)
    if required == []:
        raise AppError(f"{_name(app)} takes no arguments: a factory? then say factory=True (--factory)")
    if required is not None and len(required) == 1:
        return "asgi2" if required[0] == "scope" else "socket"
    if required is None or len(required) not in _SYNC:
        raise AppError(
            f"{_name(app)} takes neither (scope, receive, send) nor (environ, start_response): "
            "say kind='asgi' or 'wsgi' (--kind)"
        )
    return _SYNC[len(required)]


def require_served_on(kind: str, listeners: Sequence[Listener]) -> None:
    """Raise ActivationError if an app of this kind cannot be served on one of `listeners`."""
    for listener in listeners:
        if listener.kind not in SERVED_ON[kind] or not _is_open_to_clients(listener):
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
    """Tell whether a handler has the keyword `state`, for connections that another process began."""
    try:
        return "state" in inspect.signature(handler).parameters
    except (TypeError, ValueError):
        return False


def is_async(app: Callable[..., Any]) -> bool:
    """Tell whether a call gives a coroutine."""
    while isinstance(app, partial):
        app = app.func
    # The method of the type, inherited or not, is what Python calls.
    called = None if inspect.isroutine(app) else inspect.getattr_static(type(app), "__call__", None)
    return any(inspect.iscoroutinefunction(_unwrapped(one)) for one in (app, called))


def _asgi(app: Callable[..., Any]) -> str:
    """Return what an async callable is that is nothing else; unless it fails with each request."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return "asgi"  # it does not say
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise AppError(
            f"{_name(app)} takes neither (scope, receive, send) nor (reader, writer) nor (data, address, "
            "reply) nor a connection: say what it is by kind (--kind)"
        ) from None
    return "asgi"


def _is_open_to_clients(listener: Listener) -> bool:
    return listener.kind is Kind.DATAGRAM or listener.listening or listener.connected


def _found(listener: Listener) -> str:
    bare = listener.kind in (Kind.STREAM, Kind.SEQPACKET) and not _is_open_to_clients(listener)
    return f"{listener.kind.value} that does not listen" if bare else listener.kind.value


def _expected(kind: str) -> str:
    return " or ".join(
        f"a {'' if served is Kind.DATAGRAM else 'listening '}{served.value}" for served in SERVED_ON[kind]
    )


def _unwrapped(found: Any) -> Any:
    try:
        return inspect.unwrap(found)
    except ValueError:
        return found  # a proxy that has every attribute, `__wrapped__` too


def _required_arguments(app: Callable[..., Any]) -> list[str] | None:
    """Return the positional arguments without a default; None when the signature does not say."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind in positional and parameter.default is parameter.empty
    ]


def _name(app: object) -> str:
    return getattr(app, "__qualname__", None) or f"{type(app).__name__} object"
