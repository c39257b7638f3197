"""ASGI lifespan: the app's own startup and shutdown.

uvicorn's `lifespan="auto"` takes every exception before `startup.complete` as a sign that the app does not
support lifespan, and so serves an app that failed to start. Here an app that raises before it has asked for
the first event does not support lifespan, and one that raises later has failed.
Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sockact.errors import AppError
from sockact.system import loop_tasks
from sockact.untrusted.text import told

App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

logger = logging.getLogger(__package__)


class AppSays(Exception):  # noqa: N818 - never raised
    """An app's own message about its failure; a log record shows several lines of an error only."""


class Lifespan:
    """One run of an app's lifespan.

    Args:
        app: an ASGI 3 app.
        mode: `on`: the app must support lifespan; `auto`: it may not; `off`: lifespan is not used.

    Attributes:
        state: the app's `scope["state"]`, which goes into the scope of each request.
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
        """Start the app.

        Raises:
            AppError: it failed, or took longer than `timeout` seconds; the cause is the app's exception.
        """
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._completed = loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = loop_tasks.begin_app(self._run(), loop)
        try:
            async with asyncio.timeout(timeout):
                await self._outcome("startup")
        except TimeoutError:
            raise AppError(f"the app's startup did not finish within {timeout:g} s") from None
        self._started = self._completed.done()  # otherwise the app does not support lifespan

    async def shutdown(self, timeout: float) -> None:
        """Shut the app down. Errors are logged: the stop goes on."""
        if self._task is None:
            return
        if self._started:
            await self._ask_to_end(timeout)
        # The app's task must not outlive this lifespan, nor a startup that was interrupted.
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
        """Wait until the app has reported the result of `stage`, or has ended without a report."""
        assert self._task is not None
        assert self._completed is not None
        either: set[asyncio.Future[Any]] = {self._task, self._completed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._completed.done():
            message = self._completed.result()
            if message:  # usually a traceback
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
        """Run the app; return its error, for a raised SystemExit would end the loop."""
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
