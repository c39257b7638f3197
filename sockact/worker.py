"""The worker: a process that serves an app, and does not know who its manager is.

It speaks sd_listen_fds(3) and sd_notify(3) to whoever started it: systemd, a supervisor, or nobody.
A reload replaces the code in place: a canary tries it, the drain ends, and the process executes its
own command again, with the same PID and the same sockets.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import uvloop

from sockact import canary, control, fds, listen, loader, logs, program, signals
from sockact import settings as settings_module
from sockact.control import CALLER, CONTROL, Caller, ControlServer
from sockact.drain import Drain, count
from sockact.engines.http import CancelledQuietly, HttpEngine
from sockact.errors import ActivationError, ReloadRefused, SockactError, UsageError
from sockact.fds import Kind, Listener
from sockact.lifecycle import Conductor, Ending
from sockact.notify import Notifier
from sockact.settings import Settings
from sockact.signals import EarlySignals

RESERVED = "sockact."
"""How the names begin under which sockact passes descriptors to itself."""

START_MARGIN = 5.0
"""Seconds asked for beyond `start_timeout`, so that our own limit is the one that is reported."""

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
    early = EarlySignals()
    process = _Process(early)
    try:
        settings = settings_module.resolve(given, os.environ)
        logs.configure(settings.log_level, os.environ)
        process.serve(app, settings, import_here=import_here)
    except SockactError as error:
        process.fail(error)
    early.restore()


class Worker:
    """The service that a worker is: one app on the listeners that were passed."""

    def __init__(self, engine: HttpEngine, settings: Settings, environ: dict[str, str]) -> None:
        self._engine = engine
        self._settings = settings
        self._environ = environ
        self._drain = Drain(engine, settings.drain_timeout)
        self._checking = False
        self._started = False

    @property
    def hammered(self) -> bool:
        """Whether the drain was ended by force."""
        return self._drain.hammered

    async def start(self) -> None:
        """Start the app and accept."""
        await self._engine.start()
        self._started = True

    async def check(self) -> None:
        """Let a canary start the new code."""
        self._checking = True
        try:
            await canary.rehearse(
                program.command(),
                self._environ,
                start_timeout=self._settings.start_timeout + START_MARGIN,
                end_timeout=self._settings.shutdown_timeout + START_MARGIN,
            )
        finally:
            self._checking = False

    async def replace(self) -> None:
        """Drain, so that the process can execute the new code."""
        await self.stop()

    async def stop(self) -> None:
        """Drain, then let the app shut down."""
        await self._drain.wait()
        await self._engine.close()

    def hammer(self) -> None:
        """End the drain by force."""
        self._drain.hammer()

    def status(self) -> str:
        """Say what the worker is doing."""
        if self._drain.begun:
            return self._drain.status()
        if self._checking:
            return "trying the new code"
        if not self._started:
            return "starting the app"
        return f"ready, {count(self._engine.in_flight, 'request')} in flight"


class _Process:
    """What a worker process holds from its first line to its last."""

    def __init__(self, early: EarlySignals) -> None:
        faulthandler.enable()  # the watchdog's SIGABRT then shows where every thread hangs
        self._early = early
        self._environ = os.environ
        self._trial = os.environ.pop(canary.VARIABLE, None) is not None
        self._generation = int(os.environ.pop(program.GENERATION, "1"))
        self._notifier = Notifier(os.environ, os.getpid())
        self._listeners: list[Listener] = []
        self._control: Listener | None = None
        self._callers: list[Caller] = []

    def serve(self, app: object, settings: Settings, *, import_here: bool) -> None:
        """Take the sockets over, load the app, serve, and end as the conductor says."""
        self._notifier.extend(settings.start_timeout + START_MARGIN)
        if not self._trial:
            self._adopt(settings)
        if import_here or settings.chdir:
            loader.enter(settings.chdir)
        loaded = loader.load(app, factory=settings.factory)
        kind = loader.interface(loaded) if settings.interface == "auto" else settings.interface
        logging.getLogger("uvicorn.error").addFilter(CancelledQuietly())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ending = runner.run(self._live(loaded, kind, settings))
        if self._trial:
            raise SystemExit(0)
        if ending.replaced:
            self._replace(ending, settings)
        for listener in self._listeners:
            listener.close()

    def fail(self, error: SockactError) -> NoReturn:
        """Say why, everywhere where somebody may look, and end."""
        cause = error.__cause__
        logger.error("%s", error, exc_info=cause if error.exit_status == 1 else None)
        self._notifier.status(str(error))
        for caller in self._callers:
            caller.answer(False, f"the new code failed to start: {error}")
        raise SystemExit(error.exit_status)

    async def _live(self, app: Any, kind: str, settings: Settings) -> Ending:
        conductor: Conductor | None = None

        def changed() -> None:
            if conductor is not None:
                conductor.changed()

        engine = HttpEngine(app, kind, self._sockets(), settings, changed)
        worker = Worker(engine, settings, program.environment({}, self._generation))
        if self._trial:
            await self._rehearse(worker)
            return Ending()
        callers, self._callers = self._callers, []
        conductor = Conductor(worker, self._notifier, settings, f"gen {self._generation}", callers)
        server = None
        if self._control is not None and self._control.sock is not None:
            server = ControlServer(self._control.sock, conductor.request_reload)
        try:
            ending = await conductor.run(self._early)
        finally:
            if server is not None:
                server.close()
        if ending.at_once or (worker.hammered and not ending.replaced and _threads_left()):
            self._leave(ending.status)
        return ending

    async def _rehearse(self, worker: Worker) -> None:
        await worker.start()
        self._notifier.ready("the new code has started")
        await worker.stop()

    def _adopt(self, settings: Settings) -> None:
        other = fds.meant_for_another(os.environ, os.getpid())
        passed = fds.adopt()
        for listener in passed:
            self._sort(listener)
        if not self._listeners:
            if other is not None:
                logger.warning("LISTEN_PID=%s is not this process: a program between must use exec", other)
            self._listeners = listen.bind(settings.listen)
        for listener in self._listeners:
            _require_listening_stream(listener)
        places = ", ".join(f"{listener.name}={listener.address}" for listener in self._listeners)
        logger.info("gen=%d pid=%d serves %s", self._generation, os.getpid(), places)
        where = control.address(settings.control, os.environ, os.getpid())
        if self._control is None and where is not None:
            opened = control.open_server(where)
            self._control = None if opened is None else Listener.of(opened, CONTROL)

    def _sort(self, listener: Listener) -> None:
        if not listener.name.startswith(RESERVED):
            self._listeners.append(listener)
        elif listener.name == CONTROL:
            self._control = listener
        elif listener.name == CALLER and listener.sock is not None:
            self._callers.append(Caller(listener.sock))
        else:
            logger.info("descriptor %d (%s) is of a later version: closed", listener.fd, listener.name)
            listener.close()

    def _sockets(self) -> list[Any]:
        return [listener.sock for listener in self._listeners]

    def _replace(self, ending: Ending, settings: Settings) -> NoReturn:
        """Become the new code."""
        signals.block()
        self._notifier.extend(settings.start_timeout + START_MARGIN)
        passed: Sequence[Listener] = [
            *self._listeners,
            *([self._control] if self._control else []),
            *(caller.passed_on() for caller in ending.callers),
        ]
        argv = program.command()
        environ = program.environment(self._notifier.variables, self._generation)
        logger.info("gen=%d gives way to %s", self._generation, " ".join(argv))
        _flush()
        try:
            fds.replace(argv, passed, environ)
        except OSError as error:
            self._callers = list(ending.callers)
            self.fail(ReloadRefused(f"{argv[0]} cannot be executed: {error.strerror}"))

    def _leave(self, status: int) -> NoReturn:
        """End without waiting for threads: those of a WSGI app cannot be cancelled, and hold Python up."""
        _flush()
        os._exit(status)


def _require_listening_stream(listener: Listener) -> None:
    if listener.kind is Kind.STREAM and listener.listening:
        return
    found = "stream socket that does not listen" if listener.kind is Kind.STREAM else listener.kind.value
    raise ActivationError(
        f"descriptor {listener.fd} ({listener.name}) is a {found}: expected a listening stream socket"
    )


def _threads_left() -> bool:
    others = set(threading.enumerate()) - {threading.main_thread()}
    return any(not thread.daemon for thread in others)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
