"""ASGI lifespan: the app's own startup and shutdown.

uvicorn's `lifespan="auto"` takes every exception before `startup.complete` for an app that does
not know lifespan, and serves an app that failed to start. Here the moment decides: an app that
raises before it has asked for the first event has refused the protocol; one that raises after
that has failed. Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sockact.errors import AppError
from sockact.untrusted.text import told

App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

logger = logging.getLogger(__package__)


class AppSays(Exception):  # noqa: N818 - never raised
    """What an app says of its failure, several lines as a rule; a log record has them only of an error."""


class Lifespan:
    """One run of an app's lifespan.

    Args:
        app: an ASGI 3 app.
        mode: `on`: the app must take part; `auto`: it may refuse; `off`: it is not asked.

    Attributes:
        state: what the app put into `scope["state"]`, for the scope of each request.
    """

    def __init__(self, app: App, mode: str) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._mode = mode
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._asked = False
        self._task: asyncio.Task[BaseException | None] | None = None
        self._completed: asyncio.Future[str] | None = None
        self._started = False

    async def startup(self, timeout: float) -> None:
        """Let the app start.

        Raises:
            AppError: it failed, or took longer than `timeout` seconds; its cause is the app's exception.
        """
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._completed = loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run())
        try:
            async with asyncio.timeout(timeout):
                await self._outcome("startup")
        except TimeoutError:
            raise AppError(f"the app's startup did not finish within {timeout:g} s") from None
        self._started = self._completed.done()  # otherwise the app takes no part in it

    async def shutdown(self, timeout: float) -> None:
        """Let the app end. What goes wrong is logged: the stop goes on."""
        if self._task is None:
            return
        if self._started:
            await self._ask_to_end(timeout)
        # The app's task must not outlive this lifespan, nor a startup that was cut short.
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=1.0)

    async def _ask_to_end(self, timeout: float) -> None:
        self._completed = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": "lifespan.shutdown"})
        try:
            async with asyncio.timeout(timeout):
                await self._outcome("shutdown")
        except TimeoutError:
            logger.error("the app's shutdown did not finish within %g s", timeout)
        except AppError as error:
            logger.error("%s", error, exc_info=error.__cause__)

    async def _outcome(self, stage: str) -> None:
        """Wait until the app has said how `stage` went, or has ended without a word."""
        assert self._task is not None
        assert self._completed is not None
        either: set[asyncio.Future[Any]] = {self._task, self._completed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._completed.done():
            message = self._completed.result()
            if message:  # most often a whole traceback
                logger.error("the app says that its %s failed", stage, exc_info=AppSays(message))
                raise AppError(f"the app's {stage} failed: {message.splitlines()[-1].strip()}")
            return
        error = self._task.result()
        if error is None and (self._mode == "auto" or stage == "shutdown"):
            return
        if error is not None and not self._asked and self._mode == "auto":
            logger.info("the app does not take part in lifespan: %s", told(error))
            return
        what = "it ended without a word" if error is None else told(error)
        raise AppError(f"the app's {stage} failed: {what}") from error

    async def _run(self) -> BaseException | None:
        """Return what the app raised; passed on, sys.exit would end the loop, a cancellation our wait."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - see above
            return error
        return None

    async def _receive(self) -> dict[str, str]:
        self._asked = True
        return await self._events.get()

    async def _send(self, message: Any) -> None:
        stage, _, outcome = message["type"].removeprefix("lifespan.").partition(".")
        if stage not in ("startup", "shutdown") or outcome not in ("complete", "failed"):
            raise ValueError(f"expected a lifespan event, found {message['type']!r}")
        if self._completed is not None and not self._completed.done():
            failed = (message.get("message") or "").strip() or "it does not say why"
            self._completed.set_result(failed if outcome == "failed" else "")
