"""Makes a WSGI app an ASGI one, whose response ends when its client has gone.

a2wsgi sends for an app that goes on, and uvicorn takes that for a client that has gone, without a word: a
stream without an end kept its thread for ever, and with the last thread the service. PEP 3333 has no way to
tell an app; servers whose write fails stop to ask for more and call `close`, which is what this does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from a2wsgi import WSGIMiddleware

from sockact.engines.lifespan import App

_GONE = "sockact.gone"
"""Where the app's side finds in the scope of a request whether the client has gone."""


def wsgi_as_asgi(app: Callable[..., Any], threads: int) -> App:
    """Wrap a WSGI app so that it speaks ASGI 3; so many `threads` run it."""

    def ended(environ: dict[str, Any], start_response: Any) -> _Response:
        return _Response(app(environ, start_response), environ["asgi.scope"][_GONE])

    inner = cast("App", WSGIMiddleware(cast("Any", ended), workers=threads))

    async def served(scope: Any, receive: Any, send: Any) -> None:
        # A bound method of uvicorn's RequestResponseCycle, of which `disconnected` is no public name.
        cycle = getattr(send, "__self__", None)
        await inner({**scope, _GONE: lambda: getattr(cycle, "disconnected", False)}, receive, send)

    return served


class _Response:
    """The response of a WSGI app, which ends after a part for which there is no client any more.

    Not before the first part: in a generator, all the work of the request may be done for that one.
    """

    def __init__(self, parts: Any, gone: Callable[[], bool]) -> None:
        self._parts = iter(parts)
        self._close = getattr(parts, "close", None)
        self._gone = gone
        self._begun = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._begun and self._gone():
            raise StopIteration
        self._begun = True
        return next(self._parts)

    def close(self) -> None:
        """Let the app release what it holds for the response."""
        if self._close is not None:
            self._close()
