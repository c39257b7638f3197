"""The functions by which an app's code asks about the process in which it runs, and gives it work.

Rule of this file: it finds out nothing by itself. The process sets `_current` by `begin_role` and the other
functions at the end, once it knows; until then, and in a process that sockact does not serve, the answers
are those of a process on its own.
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
    """A flag and an event that tell when this process drains; for any thread and any loop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def is_set(self) -> bool:
        """Return whether the drain has begun."""
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
        """Set the flag, and wake all who wait."""
        with self._lock:
            self._event.set()
            waiting = list(self._waiting)
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_wake, future)
            except RuntimeError:
                continue  # a loop that was closed while a task waited in it


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class CurrentProcess:
    """This process, as far as it is known.

    Attributes:
        role: its role; empty as long as that is open.
        activated: True if sockets were passed to its service; None as long as that is open.
        addresses: the addresses that it serves, by the names of the sockets.
        draining: tells when it drains.
        background: the tasks that the drain waits for.
        loop: the event loop that serves, and runs these tasks.
        request_reload: requests a reload; for any thread.
    """

    def __init__(self) -> None:
        self.role = ""
        self.activated: bool | None = None
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.draining = Draining()
        self.background: Background | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.request_reload: Callable[[], object] | None = None


_current = CurrentProcess()
draining = _current.draining


def role() -> str:
    """Return the role of this process in its service.

    Returns:
        `supervisor`; `worker`, of a supervisor; `alone`, which serves without one, or tries new code for
        it; empty for none of them, or before `serve` has decided it.
    """
    return _current.role or role_in(os.environ)


def role_in(environ: Mapping[str, str]) -> str:
    """Return the role that an environment tells; empty if that does not decide it."""
    return "alone" if TRIAL in environ else "worker" if SUPERVISED in environ else ""


def activated() -> bool:
    """Return whether a service manager has passed sockets to the service of this process.

    Ask before `adopt`, which removes the answer from the environment.
    """
    if _current.activated is not None:
        return _current.activated
    return activated_in(os.environ, os.getpid())


def activated_in(environ: Mapping[str, str], pid: int) -> bool:
    """Return the same from an environment. Source: sd_listen_fds(3)."""
    if ACTIVATED in environ:
        return environ[ACTIVATED] == "1"
    return environ.get("LISTEN_PID") == str(pid) and environ.get("LISTEN_FDS", "0") != "0"


def addresses() -> dict[str, tuple[str, ...]]:
    """Return the addresses at which this process serves an app, from its `on_start` hooks on.

    Returns:
        Addresses like `127.0.0.1:8000`, `[::1]:8000` or `/run/app.sock`, by `FileDescriptorName=`; none in
        a process that serves nothing, as a supervisor or one that only tries new code.
    """
    return _current.addresses.copy()


def request_reload() -> None:
    """Request a reload of the service, as SIGHUP to its main process does; return at once.

    For any thread. In a process that only tries new code it does nothing.

    Raises:
        UnavailableError: this process is not served by sockact, or not yet.
    """
    if _current.request_reload is None:
        raise UnavailableError("request_reload: sockact does not serve in this process: nobody can reload")
    _current.request_reload()


def background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a background task, for which the drain waits; the drain timeout cancels it.

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
    if loop is None or _current.loop not in (loop, None):
        work.close()
        raise UsageError("background was called outside of the event loop that serves: expected async code")
    if _current.background is None:
        from sockact.lifecycle.tasks import Background

        _current.background = Background()
    return _current.background.start(work)


def begin_role(role: str, *, activated: bool) -> None:
    """Set the role of this process, and whether sockets were passed to its service."""
    _current.role, _current.activated = role, activated


def set_addresses(addresses: Mapping[str, tuple[str, ...]]) -> None:
    """Set the addresses that this process serves."""
    _current.addresses = dict(addresses)


def set_loop(loop: asyncio.AbstractEventLoop, background: Background) -> None:
    """Set the event loop that serves, and its background tasks."""
    _current.loop, _current.background = loop, background


def set_reload(request: Callable[[], object] | None) -> None:
    """Set the function that requests a reload; None if that is no longer possible."""
    _current.request_reload = request


def forget() -> None:
    """Reset a process that was forked from one that serves: sockact does not serve in it."""
    _current.role, _current.addresses = "", {}
    _current.background = _current.loop = _current.request_reload = None
