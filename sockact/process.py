"""A worker process from its first line to its last: what it takes over, how it lives, how it ends.

It speaks sd_listen_fds(3) and sd_notify(3) to whoever started it: systemd, a supervisor, or nobody.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import uvloop

from sockact import canary, fds, loader, logs, settings, signals
from sockact.control import ControlServer
from sockact.engines.http import CancelledQuietly, HttpEngine
from sockact.errors import ReloadRefused, SockactError, UsageError
from sockact.lifecycle import Conductor, Ending
from sockact.notify import Notifier
from sockact.program import GENERATION, Program
from sockact.settings import Settings
from sockact.signals import EarlySignals
from sockact.sockets import Sockets
from sockact.worker import MARGIN, Worker

logger = logging.getLogger(__name__)


def serve(app: object, /, *, import_here: bool = False, **given: Any) -> None:
    """Serve `app` until the process is told to stop; see `sockact.serve`.

    Args:
        app: an ASGI or WSGI callable, or a string `module:attribute`.
        import_here: import from the present directory, as `sockact run` does.
        given: settings.

    Raises:
        SystemExit: it failed; the reason is in the log and in the status, the code is that of
            `SockactError.exit_status`.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("serve was called in another thread: signals arrive in the main thread only")
    process = Process()
    try:
        chosen = settings.resolve(given, os.environ)
        logs.configure(chosen.log_level, os.environ)
        for name in settings.misspelt(os.environ):
            logger.warning("%s is no setting: ignored", name)
        process.serve(app, chosen, import_here=import_here)
    except SockactError as error:
        process.fail(error)


class Process:
    """This process, as a worker; there is one."""

    def __init__(self) -> None:
        self._early = EarlySignals()
        self._sockets = Sockets.adopted()
        if sys.stderr is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then shows where every thread hangs
        self._trial = os.environ.pop(canary.VARIABLE, None) is not None
        generation = os.environ.pop(GENERATION, "")
        self._generation = int(generation) if generation.isdecimal() else 1
        self._notifier = Notifier()
        self._program = Program.of_this_process(os.environ)

    def serve(self, app: object, chosen: Settings, *, import_here: bool) -> None:
        """Take the sockets over, load the app, serve, and end as the conductor says."""
        self._notifier.extend(chosen.start_timeout + MARGIN)
        if not self._trial:
            self._sockets.complete(chosen)
            logger.info("gen=%d pid=%d serves %s", self._generation, os.getpid(), self._sockets.describe())
        if import_here or chosen.chdir:
            loader.enter(chosen.chdir)
        loaded = loader.load(app, factory=chosen.factory)
        kind = loader.interface(loaded) if chosen.interface == "auto" else chosen.interface
        logging.getLogger("uvicorn.error").addFilter(CancelledQuietly())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ending = runner.run(self._live(loaded, kind, chosen))
        if self._trial:
            raise SystemExit(0)
        if ending.replaced:
            self._replace(ending, chosen)
        self._sockets.close()
        self._early.restore()

    def fail(self, error: SockactError) -> NoReturn:
        """Say why, everywhere where somebody may look, and end."""
        logger.error("%s", error, exc_info=error.__cause__ if error.exit_status == 1 else None)
        self._notifier.status(str(error))
        for caller in self._sockets.callers:
            caller.answer(False, f"the new code failed to start: {error}")
        raise SystemExit(error.exit_status)

    async def _live(self, app: Callable[..., Any], kind: str, chosen: Settings) -> Ending:
        callers, self._sockets.callers = self._sockets.callers, []
        conductor = Conductor(self._notifier, chosen, f"gen {self._generation}", callers)
        engine = HttpEngine(app, kind, self._sockets.served(), chosen, conductor.busy)
        worker = Worker(engine, chosen, self._program)
        if self._trial:
            await self._rehearse(worker)
            return Ending()
        ending = await self._conduct(conductor, worker)
        if ending.at_once or (worker.hammered and _threads_left()):
            # Threads cannot be cancelled: the loop's end, and Python's, would wait for them.
            self._leave(ending, chosen)
        return ending

    async def _rehearse(self, worker: Worker) -> None:
        try:
            await worker.start()
            self._notifier.ready("the new code has started")
        finally:
            await worker.stop()

    async def _conduct(self, conductor: Conductor, worker: Worker) -> Ending:
        control = self._sockets.control
        server = None
        if control is not None and control.sock is not None:
            server = ControlServer(control.sock, conductor.request_reload)
        try:
            return await conductor.run(worker, self._early)
        finally:
            if server is not None:
                server.close()

    def _leave(self, ending: Ending, chosen: Settings) -> NoReturn:
        if ending.replaced:
            self._replace(ending, chosen)
        _flush()
        os._exit(ending.status)

    def _replace(self, ending: Ending, chosen: Settings) -> NoReturn:
        """Become the new code."""
        signals.block()
        self._notifier.extend(chosen.start_timeout + MARGIN)
        program = self._program
        environ = {**program.environment(self._generation + 1), **self._notifier.variables}
        logger.info("gen=%d gives way to %s", self._generation, " ".join(program.argv))
        _flush()
        try:
            os.chdir(program.directory)
            fds.replace(program.argv, self._sockets.passed_on(ending.callers), environ)
        except OSError as error:
            self._sockets.callers = list(ending.callers)
            self.fail(ReloadRefused(f"{program.argv[0]} cannot be executed: {error}"))


def _threads_left() -> bool:
    others = set(threading.enumerate()) - {threading.main_thread()}
    return any(not thread.daemon for thread in others)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
