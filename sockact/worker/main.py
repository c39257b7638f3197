"""The worker process: it loads the app, serves it, and can become its own successor."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from sockact import hooks
from sockact.apps import assignment, loader
from sockact.apps.assignment import Found, Mount
from sockact.config import envfile, logs
from sockact.config.settings import Settings
from sockact.engines.certificates import Tls, configured
from sockact.engines.group import Engines, Served
from sockact.engines.handlers.datagram import DatagramEngine
from sockact.engines.handlers.stream import StreamEngine
from sockact.engines.http.engine import CancelledQuietly, HttpEngine
from sockact.errors import SettingsError, SockactError
from sockact.handover.store import Store
from sockact.handover.transfer import CONNECTION
from sockact.lifecycle.conductor import Conductor, Ending
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.tasks import Background
from sockact.process import event_loop, green_threads, unapplied
from sockact.process.ending import threads
from sockact.process.health import HealthServer
from sockact.process.launch import MARGIN, Process
from sockact.protocols.assignments import Reporter
from sockact.protocols.environment import GENERATION, REMARK
from sockact.runtime import HERE
from sockact.sockets.fds import Kind
from sockact.system import forks
from sockact.worker.hook_runner import HookRunner
from sockact.worker.own_signals import OwnSignals, guarded, say_overridden
from sockact.worker.service import Inside, Worker
from sockact.worker.signal_hooks import SignalHooks

ORDERS = ("SIGTERM", "SIGQUIT", "SIGHUP")
"""What a supervisor may order a worker to do, in place of these signals."""

ORPHANED = 0.5
"""Seconds after the end of its supervisor until a worker drains that has got no SIGTERM by `lifeline`."""

logger = logging.getLogger(__package__)


def serve_in(process: Process, chosen: Settings, app: object, *, import_here: bool) -> None:
    """Serve `app` in this process.

    Args:
        process: what it was given.
        chosen: how to serve.
        app: a callable, a string `module:attribute`, or a mapping from names of sockets to these.
        import_here: import from the present directory, as `sockact run` does.
    """
    _Serving(process, chosen).run(app, import_here=import_here)


class _Supervisor:
    """Whom a worker tells what it wants, if it has a supervisor."""

    replaces = True

    def __init__(self, conductor: Conductor, process: Process) -> None:
        notifier = process.notifier
        self.failed = process.report
        self.busy = conductor.busy
        self.consent = notifier.consent
        self.hook_failed = notifier.hook_failed
        self.request_reload = notifier.request_reload
        self.recycle = notifier.recycle
        self.idle = notifier.idle
        self.stopped = conductor.show  # connections were taken as they came; these are the last numbers
        self.take_orders = notifier.take_orders
        self.exit_seen = notifier.exit_seen
        self._conductor = conductor
        self._notifier = notifier

    def give(self, connections: Sequence[int]) -> bool:
        return self._notifier.store(connections, CONNECTION)

    def kept(self) -> Sequence[socket.socket]:
        return ()  # they come over the supply

    async def room(self, *, followed: bool) -> int:  # noqa: ARG002
        return 0  # it has said itself whether it takes them

    def hooked(self, point: str) -> None:
        if point in hooks.ON_RELOAD:
            self._notifier.ask_before_reload()
        if point == hooks.WORKER_EXIT:
            self._notifier.watch_exits()

    def ordered(self, order: str) -> None:
        if order in ORDERS:
            self._conductor.obey(signal.Signals[order])
        else:
            logger.debug("an order of a later version is ignored: %s", order)

    def orphaned(self) -> None:
        """Drain; in a moment, for `lifeline` sends SIGTERM too, and a second one would hurry its hooks."""
        drain = functools.partial(self._conductor.obey, signal.SIGTERM, unless_heard=True)
        asyncio.get_running_loop().call_later(ORPHANED, drain)


class _Alone:
    """Whom a worker without a supervisor tells what it wants: this process, which is its own."""

    replaces = False

    def __init__(self, conductor: Conductor, process: Process, *, storing: bool) -> None:
        self.busy = conductor.busy
        self.failed = process.report
        self.recycle = process.notifier.recycle
        self.give = process.sockets.keep
        self._conductor = conductor
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._store = Store(process.notifier)
        if storing and process.generation == 1 and not process.trial:
            self._store.explain()

    def consent(self, refusal: str) -> None:
        """Who has asked has heard it."""

    def hook_failed(self, _text: str) -> None:
        if not self._process.trial:
            self._conductor.show()

    def hooked(self, point: str) -> None:
        """It asks in any case."""

    def exit_seen(self, pid: int) -> None:
        """It knows."""

    def take_orders(self) -> None:
        """Nobody gives any."""

    def ordered(self, order: str) -> None:
        """Nobody orders anything."""

    def orphaned(self) -> None:
        """It goes with this process."""

    def request_reload(self) -> None:
        # On trial nobody listens to it.
        self._loop.call_soon_threadsafe(self._conductor.request_reload)

    def idle(self, idle: bool) -> None:
        if idle:
            self._conductor.idle()

    def kept(self) -> Sequence[socket.socket]:
        if not self._process.trial:
            self._store.clear()
        return self._process.sockets.taken()

    async def room(self, *, followed: bool) -> int:
        return 0 if self._process.trial else await self._store.room(followed=followed)

    def stopped(self) -> None:
        self._store.put(self._process.sockets.kept())


class _Serving:
    """A worker process at work, or on trial."""

    def __init__(self, process: Process, chosen: Settings) -> None:
        self._process = process
        self._settings = chosen

    def run(self, app: object, *, import_here: bool) -> None:
        """Load the app, serve, and end as the conductor says."""
        process, chosen = self._process, self._settings
        process.notifier.extend(chosen.start_timeout + MARGIN)
        HERE.role = "worker" if process.supervised else "alone"
        HERE.activated = process.activated
        if not (process.supervised or process.trial):
            _refuse_recycling(chosen)
        if process.supervised:
            _introduce(process.notifier, chosen)
        if not process.trial:
            process.complete(chosen)
        # A supervisor of ours has done so too; another one has not.
        os.environ.update(envfile.read(chosen.env_file))
        if import_here or chosen.chdir:
            loader.enter(chosen.chdir)
        self._tls = configured(chosen, os.environ)
        _hold_loggers(chosen)
        found = self._find(app)
        self._loop = event_loop.suited(chosen.loop, () if process.trial else process.sockets.listeners)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Else Runner has one of its own, which waits for the end of a factory.
            signal.signal(signal.SIGINT, _interrupt)
        with asyncio.Runner(loop_factory=guarded(event_loop.kind(self._loop))) as runner, forks.only_here():
            ending = runner.run(self._live(found))
        if process.trial:
            raise SystemExit(0)
        if ending.replaced:
            self._replace(ending)
        process.close()

    def _find(self, app: object) -> Sequence[Found]:
        """Import the apps, and see what that has done to this process."""
        listeners = None if self._process.trial else self._process.sockets.listeners
        with self._process.intact(), forks.only_here():
            found = assignment.find(app, listeners, self._settings.unused)
        green_threads.refuse()
        return found

    def _mount(self, found: Sequence[Found]) -> Sequence[Mount]:
        """Make the apps, and say where they are served."""
        process, chosen = self._process, self._settings
        mounted = assignment.mount(found, chosen)
        if self._tls is not None:
            self._tls.check(mounted)
        if not process.trial:
            if chosen.unused == "close":
                process.sockets.close_unused([each for mount in mounted for each in mount.listeners])
            HERE.addresses = process.sockets.addresses()
            places = process.sockets.describe()
            logger.info("gen=%d pid=%d serves %s", process.generation, os.getpid(), places)
            others = process.early.others()
            say_overridden({number: other for number, other in others.items() if other is not _interrupt})
        if event_loop.is_nested_in_vain(self._loop):
            logger.warning("%s", event_loop.ADVICE)
        return mounted

    async def _live(self, found: Sequence[Found]) -> Ending:
        process = self._process
        forks.guard(asyncio.get_running_loop())
        conductor = process.conductor(self._settings)
        process.exit.loop = asyncio.get_running_loop()
        process.exit.last = lambda: self._leave_by_force(conductor)
        inside = self._inside(conductor)
        mounted = self._mount(found)
        readiness = Readiness()
        served = [_served(mount, self._settings, readiness, self._tls) for mount in mounted]
        engines = Engines(served, None if process.activated else self._leave_listeners)
        supervisor = _Supervisor(conductor, process) if process.supervised else None
        supply = None if process.sockets.supply is None else process.sockets.supply.sock
        storing = self._settings.handover and not process.sockets.connected
        manager = supervisor or _Alone(conductor, process, storing=storing)
        worker = Worker(
            engines,
            self._settings,
            process.program,
            process.generation,
            manager,
            readiness,
            inside,
            supply,
            passing=process.sockets.connected,
            within=process.exit.within,
        )
        HERE.reload = manager.request_reload
        hooks.REGISTRY.watch(manager.hooked)
        try:
            ending = await self._lead(conductor, worker, readiness, mounted)
        except SockactError as error:
            process.report(error)  # while there is time
            raise
        finally:
            HERE.reload = None
            _report(process.generation, inside.hooks.failures)
            process.begin_end()
        left = threads() if worker.hammered else []
        if left:
            logger.warning("pid=%d leaves, and ends %s", os.getpid(), "; ".join(left))
        if ending.at_once or inside.hooks.stuck or left:
            # Threads cannot be cancelled, nor tasks against their will: the loop's end, and Python's,
            # would wait for them.
            self._leave(ending)
        return ending

    def _inside(self, conductor: Conductor) -> Inside:
        """Give the app's code its part in the life of this process."""
        chosen = self._settings
        runner = HookRunner(hooks.REGISTRY, without=hooks.SERVING if self._process.trial else ())
        background = HERE.background = Background()
        HERE.loop = asyncio.get_running_loop()
        stops = dict.fromkeys((signal.SIGTERM, signal.SIGINT), chosen.shutdown_timeout)
        hooked = SignalHooks(runner, background, stops, chosen.start_timeout)
        own = OwnSignals(hooked.deliver, lambda: conductor.obey(signal.SIGTERM))
        conductor.deliver, conductor.keeping, conductor.look_after = own.deliver, own.kept, own.look
        return Inside(runner, background, HERE.draining)

    def _leave_listeners(self, last: bool) -> None:
        """Close what the service has bound itself: who comes now shall not wait where nobody accepts.

        New code that takes the place of this process still needs it; a worker has copies only.
        """
        if last or self._process.supervised:
            self._process.sockets.leave()

    async def _lead(
        self, conductor: Conductor, worker: Worker, readiness: Readiness, mounted: Sequence[Mount]
    ) -> Ending:
        process = self._process
        if process.trial:
            await self._rehearse(worker, mounted)
            return Ending()
        if health := process.sockets.health:
            HealthServer(health, lambda: readiness.word, self._settings).open_thread()
        return await process.conduct(conductor, worker)

    async def _rehearse(self, worker: Worker, mounted: Sequence[Mount]) -> None:
        try:
            await worker.start()
            kinds = ", ".join(mount.kind for mount in mounted)
            self._process.notifier.ready(f"started as {kinds}")
        finally:
            await worker.stop()

    def _leave(self, ending: Ending) -> NoReturn:
        if ending.replaced:
            self._replace(ending)
        self._process.leave(ending.status)

    def _leave_by_force(self, conductor: Conductor) -> None:
        """Do what is left to do where the app does not end: a reload in place has new code to start."""
        if (ending := conductor.replacement()) is not None:
            self._replace(ending)
        self._process.forget()

    def _replace(self, ending: Ending) -> NoReturn:
        """Become the new code."""
        process = self._process
        program = process.program
        process.notifier.extend(self._settings.start_timeout + MARGIN)
        logger.info("gen=%d gives way to %s", process.generation, " ".join(program.argv))
        more = {GENERATION: str(process.generation + 1)}
        if ending.remark:
            more[REMARK] = ending.remark
        process.become(program.argv, program.environment(more), ending.callers)


def _hold_loggers(chosen: Settings) -> None:
    logs.hold(access=chosen.access_log)
    logging.getLogger("uvicorn.error").addFilter(CancelledQuietly())
    for name in ("uvicorn.error", "sockact.engines.handlers"):
        logging.getLogger(name).addFilter(event_loop.Advised())


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _served(mount: Mount, settings: Settings, readiness: Readiness, tls: Tls | None) -> Served:
    """Return the engine of an app."""
    if mount.listeners and mount.listeners[0].kind is Kind.DATAGRAM:
        return Served(DatagramEngine(mount.app, mount.kind, mount.listeners, settings), mount.listeners)
    engine: HttpEngine | StreamEngine
    if mount.is_http:
        engine = HttpEngine(mount.app, mount.kind, mount.listeners, settings, readiness, tls)
    else:
        engine = StreamEngine(mount.app, mount.kind, mount.listeners, settings)
    return Served(engine, mount.listeners, engine)


def _introduce(notifier: Reporter, chosen: Settings) -> None:
    """Tell the supervisor what the code says of itself."""
    notifier.options(unapplied.options(chosen))
    if chosen.version:
        notifier.version(chosen.version)


def _report(generation: int, failures: Sequence[str]) -> None:
    if failures:
        text = "gen=%d pid=%d ends; of its hooks failed: %s"
        logger.warning(text, generation, os.getpid(), "; ".join(failures))


def _refuse_recycling(chosen: Settings) -> None:
    for name in ("max_requests", "max_worker_age", "max_worker_memory"):
        if value := getattr(chosen, name):
            raise SettingsError(f"{name}={value}: expected workers of at least 1, which can be replaced")
