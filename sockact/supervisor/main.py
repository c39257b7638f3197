"""The supervisor process: it loads no app and no HTTP engine, which keeps it small and alive."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections.abc import Mapping, Sequence

from sockact import runtime
from sockact.config import envfile, logs
from sockact.config.settings import MAX_PROCESSES, Settings
from sockact.errors import ReloadRefused, SettingsError, UsageError
from sockact.handover.store import Store
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.lifecycle.service import Callbacks
from sockact.process.answered import own_servers
from sockact.process.command import Program
from sockact.process.launch import Process
from sockact.process.pressure import watched
from sockact.process.unapplied import differences, options
from sockact.supervisor.children import WorkerSpec
from sockact.supervisor.fleet import Rules
from sockact.supervisor.readiness import FleetReadiness
from sockact.supervisor.service import Supervisor
from sockact.supervisor.succession import Succession
from sockact.system.subreaper import become_subreaper

ASSUME_READY = 1.0
"""Seconds after its start at which a program that does not notify counts as ready."""

END_LEEWAY = 1.5
"""Seconds beyond a worker's own limit for its end until it is killed."""

logger = logging.getLogger(__package__)


def supervise_in(process: Process, chosen: Settings, program: Sequence[str]) -> None:
    """Supervise workers in this process, until it is told to stop.

    Args:
        process: this process.
        chosen: the settings.
        program: the command of a worker; empty for this very command, without its workers.
    """
    _prepare_preload(process, chosen, program)
    _check_canary(process, chosen, program)
    logs.hold()
    runtime.begin_role("supervisor", activated=process.activated)
    envfile.read(chosen.env_file)  # a fault in it is one of the settings, not of a worker
    process.complete(chosen)
    store = Store(process.notifier)  # before the limit is raised, which its size depends on
    most = raise_limit()
    with asyncio.Runner() as runner:
        runner.run(_live(process, chosen, program, store, most))
    process.close()


async def _live(
    process: Process, chosen: Settings, program: Sequence[str], store: Store, most: int | None
) -> None:
    conductor = process.conductor(chosen)
    ledger = process.open_ledger()
    for_app = process.open_app_metrics()
    process.program = process.program._replace(environ={**process.program.environ, **for_app})
    spec = _spec(process, chosen, program, most)
    if spec.handover:
        store.explain()
    unassigned = [connection.detach() for connection in process.sockets.taken()]
    leave = _leave_nothing if process.activated else process.sockets.leave
    # The next supervisor could not bind listeners of the service's own while workers have them.
    supplied = spec.supplied and process.activated
    succession = Succession(process.notifier, store, supplied=supplied, ledger=ledger)
    rules = rules_of(chosen, ours=spec.ours)
    supervisor = Supervisor(spec, rules, conductor, succession, unassigned, leave)
    _adopt_left_over(process, supervisor, succession)
    unapplied = UnappliedChanges(process, chosen, supervisor)
    callbacks = Callbacks(
        on_started=unapplied.begin,
        on_reloaded=lambda ok: ledger.reloaded(ok=ok),
        unapplied=unapplied.since_start,
        remark=supervisor.remark,
    )
    clock = asyncio.get_running_loop().time
    readiness = FleetReadiness(lambda: conductor.phase, supervisor, chosen.drain_delay, clock)
    servers = own_servers(process, readiness, chosen, lambda: process.overview(conductor))
    for server in servers:
        server.open()
    with watched(supervisor.on_memory_pressure):
        ending = await process.conduct(conductor, supervisor, callbacks)
    for server in servers:
        server.close()
    if ending.killed:
        supervisor.kill()
        process.leave(ending.status)
    if supervisor.left is not None:
        process.leave(supervisor.left)


def _adopt_left_over(process: Process, supervisor: Supervisor, succession: Succession) -> None:
    """Take over the workers of the supervisor before, or leave them to themselves: they drain."""
    found, store = process.sockets.left_over, succession.store
    workers = found.take() if succession.possible else []
    succession.ledger.adopt({(each.number, each.generation) for each in workers})
    supervisor.adopt(workers)
    store.forget(found.gone if succession.possible else found.dismiss())


def _leave_nothing() -> None:
    """Keep the listeners: they are the service manager's."""


def _spec(process: Process, chosen: Settings, program: Sequence[str], most: int | None) -> WorkerSpec:
    command = foreign(process.program, program) if program else without_workers(process.program)
    supplied = process.own or not program
    return WorkerSpec(
        program=command._replace(env_files=chosen.env_file),
        listeners=process.sockets.listeners,
        most=most,
        ours=not program,
        supplied=supplied,
        handover=chosen.handover and supplied,
        whole_group=chosen.notify_access == "all",
        max_memory=chosen.max_worker_memory,
        preload=chosen.preload,
    )


def _prepare_preload(process: Process, chosen: Settings, program: Sequence[str]) -> None:
    """Become the parent of workers that a template forks; raises SettingsError if that is not possible."""
    if not chosen.preload:
        return
    if program and not process.own:
        raise SettingsError(f"preload=yes: expected an app of Python, found the program {program[0]}")
    try:
        become_subreaper()
    except OSError as error:
        raise SettingsError(f"preload=yes: this process cannot adopt workers: {error.strerror}") from error


def _check_canary(process: Process, chosen: Settings, program: Sequence[str]) -> None:
    """Raise SettingsError if the workers are another server's, which nothing is known of."""
    if chosen.canary and program and not process.own:
        raise SettingsError(
            f"canary={chosen.canary}: expected an app of Python, found the program {program[0]}: "
            "nothing is known of its responses"
        )


class UnappliedChanges:
    """The changes of the supervisor's own settings, which a reload does not apply.

    A program that calls `serve` has its settings there: its workers tell when these change.
    """

    def __init__(self, process: Process, chosen: Settings, supervisor: Supervisor) -> None:
        self._process = process
        self._chosen = chosen
        self._supervisor = supervisor
        self._at_start = ""

    def begin(self) -> None:
        """Note the settings in the code with which the service has started."""
        self._at_start = self._supervisor.options() or ""

    def since_start(self, environ: Mapping[str, str] | None) -> list[str]:
        """Return the changes; `environ` is the unit's environment, as far as it is known."""
        unit = self._process.beginning.changed(environ)
        if self._process.own:
            now = self._supervisor.options()
            return unit if now is None else unit + differences(self._at_start.split(), now.split())
        try:
            resolved = self._process.resolve()
        except SettingsError:  # the new workers have told of it, or the fault has come a moment ago
            return unit
        return unit + differences(options(self._chosen), options(resolved))


def raise_limit() -> int | None:
    """Allow this process as many descriptors as it may have; return the limit before, None if it stays.

    Connections pass through a supervisor, those of several workers at a time. The usual soft limit
    protects programs that call select(2): a worker, which runs the app, starts with it. Source: the
    notes on LimitNOFILE= in systemd.exec(5).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return None
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a unit's SystemCallFilter= may refuse it
        logger.info("the limit of open descriptors stays at %d: %s", soft, error)
        return None
    return soft


def without_workers(program: Program) -> Program:
    """Return the command of a worker: the supervisor's own, but serving by itself.

    Raises:
        UsageError: there is no command that could be run.
    """
    try:
        program.require_command()
    except ReloadRefused as error:
        raise UsageError(str(error)) from error
    return program._replace(argv=(*program.argv, "--workers=0"))


def foreign(program: Program, argv: Sequence[str]) -> Program:
    """Return another command, in the same folder and environment."""
    return program._replace(argv=tuple(argv))


def _stop_timeout(chosen: Settings) -> float | None:
    """Return the time in which a worker must have ended; ours keep to it themselves, hooks included."""
    if chosen.stop_timeout is None:
        return None
    return chosen.shutdown_timeout + chosen.stop_timeout + KILL_MARGIN


def rules_of(chosen: Settings, *, ours: bool) -> Rules:
    """Return the fleet's rules for these settings."""
    return Rules(
        size=max(chosen.workers, 1),
        most=MAX_PROCESSES,
        start_timeout=chosen.start_timeout,
        probation=chosen.probation,
        stop_timeout=_stop_timeout(chosen),
        end_timeout=chosen.shutdown_timeout + END_LEEWAY,
        max_draining=chosen.max_draining,
        surge=chosen.surge or None,
        canary=chosen.canary,
        canary_for=chosen.canary_for,
        watchdog=chosen.worker_watchdog,
        all_ping=ours,
        assume_ready=None if chosen.notify else ASSUME_READY,
        jitter=lambda: random.uniform(0.8, 1.2),
    )
