"""The worker process: it loads the app, serves it or tries it, and can execute its own successor."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from sockact import hooks, runtime
from sockact.apps import assignment, loader
from sockact.apps.assignment import Found, Mount
from sockact.config import envfile, logs, records
from sockact.config.settings import Settings
from sockact.engines.certificates import configured
from sockact.engines.group import Engines
from sockact.errors import AppError, SettingsError, SockactError
from sockact.lifecycle.conductor import Conductor
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.service import Callbacks, Ending
from sockact.lifecycle.tasks import Background
from sockact.process import event_loop, green_threads, unapplied
from sockact.process.holders import threads
from sockact.process.launch import Process
from sockact.process.pressure import watched
from sockact.protocols.environment import GENERATION, REMARK
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.protocols.worker_messages import Reporter
from sockact.system import forks, loop_tasks
from sockact.system.memory import Trimmer
from sockact.untrusted.text import told
from sockact.worker import manager
from sockact.worker.app_engines import served
from sockact.worker.app_lifecycle import AppContext
from sockact.worker.hook_runner import HookRunner
from sockact.worker.own_signals import OwnSignals, guarded, say_overridden
from sockact.worker.service import Host, Worker
from sockact.worker.signal_hooks import SignalHooks

if TYPE_CHECKING:
    from sockact.worker.template import Template

logger = logging.getLogger(__package__)


def serve_in(process: Process, chosen: Settings, app: object, *, import_here: bool) -> None:
    """Serve `app` in this process.

    Args:
        process: this process.
        chosen: the settings.
        app: a callable, a string `module:attribute`, or a mapping from names of sockets to these.
        import_here: import from the present directory, as `sockact run` does.
    """
    _Serving(process, chosen).run(app, import_here=import_here)


class _Serving:
    """A worker process that serves, or a trial of one."""

    def __init__(self, process: Process, chosen: Settings) -> None:
        self._process = process
        self._settings = chosen

    def run(self, app: object, *, import_here: bool) -> None:
        """Load the app, serve it, and end as the conductor says."""
        process, chosen = self._process, self._settings
        template = self._template()
        self._begin()
        if not (process.supervised or process.trial):
            _refuse_worker_settings(chosen)
        if not process.trial:
            process.complete(chosen)
        # A supervisor of ours has done so too; another one has not.
        os.environ.update(envfile.read(chosen.env_file))
        if import_here or chosen.chdir:
            loader.enter(chosen.chdir)
        self._open_ledger()
        self._tls = configured(chosen, os.environ)
        if chosen.request_id:
            records.add_request_id()  # before the import: a factory of the app's then asks this one
        _hold_loggers()
        found = self._find(app)
        if template is not None:
            template.serve(found)
            self._begin()
        self._loop = event_loop.suited(chosen.loop, () if process.trial else process.sockets.listeners)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Otherwise Runner installs its own, which waits for the end of a factory.
            signal.signal(signal.SIGINT, _interrupt)
        with asyncio.Runner(loop_factory=guarded(event_loop.kind(self._loop))) as runner, forks.only_here():
            ending = runner.run(loop_tasks.main(self._live(found)))
        if process.trial:
            raise SystemExit(0)
        if ending.replaced:
            self._replace(ending)
        process.close()

    def _template(self) -> Template | None:
        """Return the template, if this process is to be one."""
        if not self._process.template:
            return None
        from sockact.worker.template import Template

        return Template(self._process, self._settings)

    def _begin(self) -> None:
        """Introduce this process to its manager."""
        process, chosen = self._process, self._settings
        process.notifier.extend(chosen.start_timeout + KILL_MARGIN)
        records.identify(generation=process.generation, worker=process.worker)
        runtime.begin_role("worker" if process.supervised else "alone", activated=process.activated)
        if process.supervised and not process.template:
            _introduce(process.notifier, chosen)

    def _find(self, app: object) -> Sequence[Found]:
        """Import the apps, and check what that has done to this process."""
        listeners = None if self._process.trial else self._process.sockets.listeners
        with self._process.intact(), forks.only_here():
            found = assignment.find(app, listeners, self._settings.unused)
            _run_preload_hooks()
        green_threads.refuse()
        return found

    def _mount(self, found: Sequence[Found]) -> Sequence[Mount]:
        """Make the apps, and log the addresses at which they are served."""
        process, chosen = self._process, self._settings
        mounted = assignment.mount(found, chosen)
        if self._tls is not None:
            self._tls.check(mounted)
        if not process.trial:
            if chosen.unused == "close":
                process.sockets.close_unused([each for mount in mounted for each in mount.listeners])
            runtime.set_addresses(process.sockets.addresses())
            places = process.sockets.describe()
            logger.info("gen=%d pid=%d serves %s", process.generation, os.getpid(), places)
            others = process.early.others()
            say_overridden({number: other for number, other in others.items() if other is not _interrupt})
        if event_loop.is_nested_in_vain(self._loop):
            logger.warning("%s", event_loop.ADVICE)
        return mounted

    async def _live(self, found: Sequence[Found]) -> Ending:
        process, loop = self._process, asyncio.get_running_loop()
        forks.guard(loop)
        conductor = process.conductor(self._settings)
        process.exit.serve(loop, lambda: self._on_expiry(conductor))
        links = manager.links(process, conductor, self._open_page())
        context = self._context(loop, links.manager.on_hook_failed)
        mounted = self._mount(found)
        if links.kept is not None:
            self._explain_store(links.kept)
        worker = self._worker(mounted, links, context)
        runtime.set_reload(links.manager.request_reload)
        if links.supervisor is not None:
            hooks.REGISTRY.watch(links.supervisor.on_hook_added)
        try:
            ending = await self._lead(conductor, worker, context, mounted)
        except SockactError as error:
            process.report(error)  # while there is time
            raise
        finally:
            runtime.set_reload(None)
            _report(process.generation, context.hooks.failures)
            process.begin_end()
        self._leave_behind(ending, worker, context)
        return ending

    def _open_ledger(self) -> None:
        """Go on with the statistics of the process before this one, if no supervisor does."""
        process = self._process
        if not (process.supervised or process.trial):
            process.open_ledger().adopt(())
            os.environ.update(process.open_app_metrics())

    def _open_page(self) -> int:
        """Count the work of this process, if no supervisor does.

        Returns how many descriptors of the ledger are in systemd's store.
        """
        process, sockets = self._process, self._process.sockets
        if process.ledger is None:
            return 0
        ledger = process.ledger
        if (page := ledger.open(1, process.generation)) is not None:
            sockets.statistics = WorkerStatistics.passed(page)
        return ledger.stored

    def _leave_behind(self, ending: Ending, worker: Worker, context: AppContext) -> None:
        """Exit now if something is left that the end of the loop, or of Python, would wait for.

        Threads cannot be cancelled, nor tasks that refuse it.
        """
        left = threads() if worker.aborted else []
        if left:
            logger.warning("pid=%d exits without waiting for %s", os.getpid(), "; ".join(left))
        if ending.killed or context.hooks.stuck or left:
            self._leave(ending)

    def _context(
        self, loop: asyncio.AbstractEventLoop, on_hook_failed: Callable[[str], None]
    ) -> AppContext:
        """Return the part of the app's code in the life of this process."""
        without = hooks.SERVING if self._process.trial else ()
        context = AppContext(
            HookRunner(hooks.REGISTRY, without, on_hook_failed),
            Background(),
            runtime.draining,
            # Of a reload in place, all through which it is green; so long a client waits in the queue.
            Readiness("ready" if self._process.generation > 1 else "starting"),
        )
        runtime.set_loop(loop, context.background)
        return context

    def _worker(self, mounted: Sequence[Mount], links: manager.Links, context: AppContext) -> Worker:
        process, chosen = self._process, self._settings
        if process.trial:  # nobody connects to it: load balancers have nothing to notice
            chosen = dataclasses.replace(chosen, drain_delay=0.0)
        made = [served(mount, chosen, context.readiness, self._tls, self._code()) for mount in mounted]
        engines = Engines(made, None if process.activated else self._leave_listeners)
        host = Host(process.program, process.generation, process.sockets.connected, process.exit.within)
        return Worker(engines, chosen, host, links, context)

    def _code(self) -> str:
        """Return a name that the running code has in all workers, and no other code of this service."""
        main = os.getppid() if self._process.supervised else os.getpid()
        return f"{main}.{self._process.generation}"

    def _explain_store(self, kept: manager.KeptConnections) -> None:
        process = self._process
        if self._settings.handover and not process.sockets.connected and process.generation == 1:
            kept.explain()

    def _callbacks(self, conductor: Conductor, context: AppContext) -> Callbacks:
        """Return the callbacks by which signals take effect with the app's hooks around them."""
        chosen = self._settings
        stops = dict.fromkeys((signal.SIGTERM, signal.SIGINT), chosen.shutdown_timeout)
        hooked = SignalHooks(context.hooks, context.background, stops, chosen.start_timeout)
        own = OwnSignals(hooked.deliver, lambda: conductor.obey(signal.SIGTERM))
        return Callbacks(
            on_signal=own.deliver,
            keep_signals=own.kept,
            check_signals=own.look,
            on_reloaded=self._reloaded,
            unapplied=self._process.unapplied,
        )

    def _reloaded(self, ok: bool) -> None:
        if self._process.ledger is not None:
            self._process.ledger.reloaded(ok=ok)

    def _leave_listeners(self, last: bool) -> None:
        """Close the listeners that the service has bound itself: nobody accepts there any more.

        New code that replaces this process still needs them; a worker has copies only.
        """
        if last or self._process.supervised:
            self._process.sockets.leave()

    async def _lead(
        self, conductor: Conductor, worker: Worker, context: AppContext, mounted: Sequence[Mount]
    ) -> Ending:
        process = self._process
        if process.trial:
            await self._run_trial(worker, mounted)
            return Ending()
        if process.sockets.answered:
            from sockact.process.answered import own_servers

            overview = partial(process.overview, conductor)
            for server in own_servers(process, context.readiness, self._settings, overview):
                server.open_thread()
        # Of a supervised worker the supervisor watches.
        pressure = contextlib.nullcontext() if process.supervised else watched(Trimmer().trim)
        with pressure:
            return await process.conduct(conductor, worker, self._callbacks(conductor, context))

    async def _run_trial(self, worker: Worker, mounted: Sequence[Mount]) -> None:
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

    def _on_expiry(self, conductor: Conductor) -> None:
        """Called when the app does not end in time: a reload in place still starts the new code."""
        if (ending := conductor.replacement()) is not None:
            self._replace(ending)
        self._process.forget()

    def _replace(self, ending: Ending) -> NoReturn:
        """Execute the new code in this process."""
        process = self._process
        program = process.program
        process.notifier.extend(self._settings.start_timeout + KILL_MARGIN)
        logger.info("gen=%d executes the new code: %s", process.generation, " ".join(program.argv))
        more = {GENERATION: str(process.generation + 1)}
        if ending.unapplied:
            more[REMARK] = ending.unapplied
        process.become(program.argv, program.environment(more), ending.callers)


def _run_preload_hooks() -> None:
    for hook in hooks.REGISTRY.at(hooks.PRELOAD):
        try:
            hook.function()
        except Exception as error:
            raise AppError(f"{hooks.PRELOAD} hook {hook.name} failed: {told(error)}") from error


def _hold_loggers() -> None:
    for name in ("sockact.engines.http", "sockact.engines.handlers"):
        logging.getLogger(name).addFilter(event_loop.Advised())
    for name in ("sockact.access", "sockact.websockets", "sockact.process"):
        logging.getLogger(name)  # of modules that are imported later, if at all
    logs.hold()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _introduce(notifier: Reporter, chosen: Settings) -> None:
    """Send the supervisor the settings and the version that the code has."""
    notifier.options(unapplied.options(chosen))
    if chosen.version:
        notifier.version(chosen.version)


def _report(generation: int, failures: Sequence[str]) -> None:
    if failures:
        text = "gen=%d pid=%d ends; failed hooks: %s"
        logger.warning(text, generation, os.getpid(), "; ".join(failures))


def _refuse_worker_settings(chosen: Settings) -> None:
    for name in ("max_requests", "max_worker_age", "max_worker_memory"):
        if value := getattr(chosen, name):
            raise SettingsError(f"{name}={value}: expected workers of at least 1, which can be replaced")
    if chosen.preload:
        raise SettingsError("preload=yes: expected workers of at least 1, which are forked")
