"""Wraps a WSGI app as an ASGI app, by a2wsgi, and follows PEP 3333 where a2wsgi does not.

the client has gone     the response ends after its next part, and `close` is called; otherwise an endless
                        stream would occupy its thread for ever, and several of them all threads
a part cannot be sent   the same, and the request fails; otherwise its thread would wait for ever
`start_response`        may be called again, with `exc_info`, until the first part that is not empty
the body ends early     reading it raises ConnectionError; otherwise the app would take half a body for all
X_Forwarded_For         is dropped: the app could not tell it from X-Forwarded-For
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any, cast

from a2wsgi import WSGIMiddleware

from sockact.engines.http.lifespan import App
from sockact.system.forks import come_back
from sockact.system.standard_streams import Errors

_EXCHANGE = "sockact.exchange"
"""Key of the `_Exchange` in the scope of a request."""


def wsgi_as_asgi(app: Callable[..., Any], threads: int) -> App:
    """Wrap a WSGI app as an ASGI 3 app, with a pool of `threads` threads."""
    errors = Errors()

    def called(environ: dict[str, Any], start_response: Any) -> _Response:
        exchange = environ["asgi.scope"][_EXCHANGE]
        environ["wsgi.input"] = io.BufferedReader(_Input(exchange))
        environ["wsgi.errors"] = errors  # not standard output, nor a stream that the app puts into `sys`
        environ["wsgi.input_terminated"] = True  # Werkzeug needs it to read a chunked body
        start = _StartResponse(start_response, exchange)
        parts = app(environ, start)
        come_back()
        return _Response(parts, start, exchange)

    inner = cast("App", WSGIMiddleware(cast("Any", called), workers=threads))

    async def served(scope: Any, receive: Any, send: Any) -> None:
        exchange = _Exchange(receive, send)
        headers = [(name, value) for name, value in scope.get("headers", ()) if b"_" not in name]
        await inner({**scope, "headers": headers, _EXCHANGE: exchange}, receive, exchange.send)
        if exchange.failure is not None:
            raise exchange.failure

    return served


class _Exchange:
    """One request and its response, shared by the loop and the app's thread."""

    def __init__(self, receive: Any, send: Any) -> None:
        self.failure: Exception | None = None
        self._receive = receive
        self._send = send
        # `send` is a method of uvicorn's RequestResponseCycle, whose `disconnected` is not a public name.
        self._cycle = getattr(send, "__self__", None)
        self._loop = asyncio.get_running_loop()

    @property
    def over(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.failure is not None or getattr(self._cycle, "disconnected", False)

    async def send(self, message: Any) -> None:
        """Send a message; if that fails, keep the error, since a2wsgi's thread would wait for ever."""
        if self.failure is None:
            try:
                await self._send(message)
            except Exception as error:  # noqa: BLE001 - raised when the thread has ended
                self.failure = error

    def read(self) -> tuple[bytes, bool]:
        """Return the next part of the body, and whether there is more; in the app's thread."""
        message = asyncio.run_coroutine_threadsafe(self._receive(), self._loop).result()
        if message["type"] == "http.disconnect" and self.over:
            raise ConnectionResetError("the client has gone before the end of its body")
        return message.get("body", b""), message.get("more_body", False)


class _Input(io.RawIOBase):
    """The body of a request."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._part = memoryview(b"")
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._more and not self._part:
            part, self._more = self._exchange.read()
            self._part = memoryview(part)
        size = min(len(buffer), len(self._part))
        buffer[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


class _StartResponse:
    """The app's `start_response`; nothing is sent before the first part of the body."""

    def __init__(self, start_response: Any, exchange: _Exchange) -> None:
        self.sent = False
        self._exchange = exchange
        self._start_response = start_response
        self._head: tuple[str, Any] | None = None

    def __call__(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        if exc_info and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._head is not None and not exc_info:
            raise RuntimeError("the app has called start_response a second time, without exc_info")
        self._head = status, headers
        return self._write

    def send(self) -> Any:
        """Send the head unless that was done; return a2wsgi's `write`."""
        if self._head is None:
            raise RuntimeError("the app has not called start_response")
        self.sent = True
        return self._start_response(*self._head)  # it sends only once

    def _write(self, part: bytes) -> None:
        if self._exchange.over:
            raise BrokenPipeError("the client has gone")
        self.send()(part)


class _Response:
    """The response of a WSGI app; it ends after the next part once the client has gone.

    Never before the first part: a generator may do all the work of the request for that one.
    """

    def __init__(self, parts: Any, start: _StartResponse, exchange: _Exchange) -> None:
        self._parts = iter(parts)
        self._close = getattr(parts, "close", None)
        self._start = start
        self._exchange = exchange
        self._begun = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while not (self._begun and self._exchange.over):
            self._begun = True
            try:
                part = next(self._parts)
            except StopIteration:
                break
            come_back()
            if part:
                if not self._start.sent:
                    self._start.send()
                return part
        come_back()
        if not self._start.sent and not self._exchange.over:
            self._start.send()
        raise StopIteration

    def close(self) -> None:
        """Call the app's `close`, which releases the response."""
        if self._close is not None:
            self._close()
