"""The places where an app cannot be served, refused before anything is taken over or bound."""

from __future__ import annotations

import logging
import os
import sys
import threading

from sockact.errors import UsageError

MAIN_GUARD = 'expected `if __name__ == "__main__":` around the call, in the process that was started first'

logger = logging.getLogger(__package__)


def require_own_thread() -> None:
    """Raise UsageError outside of the main thread, and in async code."""
    if threading.get_native_id() != os.getpid():  # green threads replace the objects that could be asked
        raise UsageError("serve was called in another thread: signals arrive in the main thread only")
    if _in_async_code():
        raise UsageError("serve was called in async code: it runs an event loop of its own, and blocks")


def require_own_process() -> None:
    """Log and raise UsageError in a process that the app has made.

    One that multiprocessing starts anew runs the program before the work that it is made for.
    """
    if not (found := _made_by()):
        return
    from sockact.config import logs  # in a process that is about to end

    logs.configure("info", os.environ)
    error = UsageError(f"{found}: nothing is served here; {MAIN_GUARD}")
    logger.error("%s", error)
    raise error


def _made_by() -> str:
    forked = sys.modules.get("sockact.system.forks")  # imported by each process that serves
    if forked is not None and forked.is_child():
        return "serve was called in a process that was forked from one that serves"
    # spawn and forkserver run the program under this name; otherwise it is another name of __main__.
    if getattr(sys.modules.get("__mp_main__"), "__name__", "") == "__mp_main__":
        return "serve was called in a process of multiprocessing"
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return "serve was called in a process of multiprocessing"
    return ""


def _in_async_code() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False  # code that runs a loop has imported it; a future supervisor need not
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
