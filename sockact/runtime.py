"""What code in an app can ask of the process in which it runs, and ask it to do.

Rule of this file: it knows nothing by itself. The process says to `HERE` what it is, once it knows; until
then, and in a process that sockact does not serve, the answers are those of a process on its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sockact.errors import UnavailableError, UsageError
from sockact.protocols.environment import ACTIVATED, SUPERVISED, TRIAL

if TYPE_CHECKING:  # `import sockact` needs no event loop
    import asyncio

    from sockact.lifecycle.tasks import Background

T = TypeVar("T")


class Draining:
    """Whether this process drains: a flag, and an event to wait for; for any thread and any loop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def is_set(self) -> bool:
        """Tell whether the drain has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the drain begins."""
        import asyncio

        loop = asyncio.get_running_loop()
        entry = loop, loop.create_future()
        with self._lock:
            if self._event.is_set():
                return
            self._waiting.add(entry)
        try:
            await entry[1]
        finally:
            with self._lock:
                self._waiting.discard(entry)

    def wait_blocking(self, timeout: float | None = None) -> bool:
        """Block this thread until the drain begins; return whether it has, within `timeout` seconds."""
        return self._event.wait(timeout)

    def begin(self) -> None:
        """Let it begin."""
        with self._lock:
            self._event.set()
            waiting = list(self._waiting)
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_wake, future)
            except RuntimeError:
                continue  # a loop that was closed while somebody waited in it


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Here:
    """This process, as far as it has said what it is.

    Attributes:
        role: what it is; empty as long as that is open.
        activated: whether sockets were passed to its service; None as long as that is open.
        addresses: where it serves, by the names of the sockets.
        draining: whether it drains.
        background: where its loop keeps what the drain waits for.
        loop: that loop.
        reload: asks for a reload; for any thread.
    """

    def __init__(self) -> None:
        self.role = ""
        self.activated: bool | None = None
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.draining = Draining()
        self.background: Background | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.reload: Callable[[], None] | None = None

    def forget(self) -> None:
        """Be a process that is not served, as one that was forked from one which is."""
        self.role, self.addresses = "", {}
        self.background = self.loop = self.reload = None


HERE = Here()
draining = HERE.draining


def role() -> str:
    """Return what this process is to its service.

    Returns:
        `supervisor`; `worker`, of a supervisor; `alone`, which serves without one, or tries new code for
        it; empty for none of them, or before `serve` has decided it.
    """
    return HERE.role or role_in(os.environ)


def role_in(environ: Mapping[str, str]) -> str:
    """Return the role that an environment tells; empty if it is not decided by that."""
    return "alone" if TRIAL in environ else "worker" if SUPERVISED in environ else ""


def activated() -> bool:
    """Tell whether a service manager has passed sockets to the service of this process.

    `adopt` takes the answer with it, if it is called before.
    """
    if HERE.activated is not None:
        return HERE.activated
    return activated_in(os.environ, os.getpid())


def activated_in(environ: Mapping[str, str], pid: int) -> bool:
    """Tell the same from an environment. Source: sd_listen_fds(3)."""
    if ACTIVATED in environ:
        return environ[ACTIVATED] == "1"
    return environ.get("LISTEN_PID") == str(pid) and environ.get("LISTEN_FDS", "0") != "0"


def addresses() -> dict[str, tuple[str, ...]]:
    """Return where this process serves an app, from its `on_start` hooks on.

    Returns:
        Addresses like `127.0.0.1:8000`, `[::1]:8000` or `/run/app.sock`, by `FileDescriptorName=`; none in
        a process that serves nothing, as a supervisor or one that only tries new code.
    """
    return HERE.addresses.copy()


def request_reload() -> None:
    """Ask for a reload of the service, as SIGHUP to its main process does; returns at once.

    For any thread. In a process that only tries new code it does nothing.

    Raises:
        UnavailableError: this process is not served by sockact, or not yet.
    """
    if HERE.reload is None:
        raise UnavailableError("request_reload: sockact does not serve in this process: nobody can reload")
    HERE.reload()


def background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin work beside the requests, for which the drain waits; the hammer cancels it.

    In a process that sockact does not serve it is a task like any other.

    Raises:
        UsageError: this is not the event loop that serves, or `work` is no coroutine.
    """
    import asyncio

    if not asyncio.iscoroutine(work):
        raise UsageError(
            f"background({work!r}): expected a coroutine, as a call of an async function gives"
        )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None or HERE.loop not in (loop, None):
        work.close()
        raise UsageError("background was called outside of the event loop that serves: expected async code")
    if HERE.background is None:
        from sockact.lifecycle.tasks import Background

        HERE.background = Background()
    return HERE.background.start(work)
