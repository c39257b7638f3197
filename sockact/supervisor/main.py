"""The supervisor process: it loads no app and no HTTP engine, so that it is small and stays alive."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sockact.config import envfile, logs
from sockact.config.settings import MAX_PROCESSES, Settings
from sockact.errors import ReloadRefused, SettingsError, UsageError
from sockact.handover.store import Store
from sockact.lifecycle.phases import Phase
from sockact.process.command import Program
from sockact.process.health import HealthServer
from sockact.process.launch import MARGIN, Process
from sockact.process.unapplied import differences, options
from sockact.runtime import HERE
from sockact.supervisor.fleet import Rules
from sockact.supervisor.service import Recipe, Supervisor

ASSUME_READY = 1.0
"""Seconds of life after which a program that does not notify counts as ready."""

LEEWAY = 1.5
"""Seconds beyond the time for the end of a worker until it is killed; before, it ends by its own means."""

WORDS = {
    Phase.ACTIVATING: "starting",
    Phase.ACTIVE: "ready",
    Phase.RELOADING: "ready",
    Phase.DEACTIVATING: "draining",
    Phase.INACTIVE: "draining",
    Phase.FAILED: "draining",
}
"""What a supervisor says of its service."""

logger = logging.getLogger(__package__)


def supervise_in(process: Process, chosen: Settings, program: Sequence[str]) -> None:
    """Keep workers from this process, until it is told to stop.

    Args:
        process: what it was given.
        chosen: how to keep them, and how they serve.
        program: what a worker runs; empty for this very command, without its workers.
    """
    logs.hold()
    HERE.role, HERE.activated = "supervisor", process.activated
    envfile.read(chosen.env_file)  # a fault in it is one of the settings, and no worker's
    process.complete(chosen)
    store = Store(process.notifier)
    most = raise_limit()
    with asyncio.Runner() as runner:
        runner.run(_live(process, chosen, program, store, most))
    process.close()


async def _live(
    process: Process, chosen: Settings, program: Sequence[str], store: Store, most: int | None
) -> None:
    conductor = process.conductor(chosen)
    command = foreign(process.program, program) if program else without_workers(process.program)
    recipe = Recipe(
        program=replace(command, env_files=chosen.env_file),
        listeners=process.sockets.listeners,
        most=most,
        ours=not program,
        supplied=process.own or not program,
        handover=chosen.handover and (process.own or not program),
        whole_group=chosen.notify_access == "all",
        max_memory=chosen.max_worker_memory,
    )
    if recipe.handover:
        store.explain()
    rules = rules_of(chosen, ours=not program)
    homeless = [connection.detach() for connection in process.sockets.taken()]
    leave = None if process.activated else process.sockets.leave
    supervisor = Supervisor(recipe, rules, conductor, store, homeless, leave)
    overlooked = Overlooked(process, chosen, supervisor)
    conductor.overlooked = overlooked.since_start
    conductor.started = overlooked.begin
    health = HealthServer(process.sockets.health, lambda: WORDS[conductor.phase], chosen)
    health.open()
    ending = await process.conduct(conductor, supervisor)
    health.close()
    if ending.at_once:
        supervisor.kill()
        process.leave(ending.status)


class Overlooked:
    """What a reload does not take over, as far as that is the supervisor's.

    A program that calls `serve` says its settings there: its workers tell when these change.
    """

    def __init__(self, process: Process, chosen: Settings, supervisor: Supervisor) -> None:
        self._process = process
        self._chosen = chosen
        self._supervisor = supervisor
        self._said = ""

    def begin(self) -> None:
        """Note what the code says with which the service has started."""
        self._said = self._supervisor.options() or ""

    def since_start(self, environ: Mapping[str, str] | None) -> list[str]:
        """Return what has changed; `environ` is what is known of the unit's environment."""
        unit = self._process.beginning.changed(environ)
        if self._process.own:
            now = self._supervisor.options()
            return unit if now is None else unit + differences(self._said.split(), now.split())
        try:
            resolved = self._process.resolve()
        except SettingsError:  # the new workers have said so, or it has come a moment ago
            return unit
        return unit + differences(options(self._chosen), options(resolved))


def raise_limit() -> int | None:
    """Allow this process as many descriptors as it may have; return the limit before, None if it stays.

    Connections pass through a supervisor, those of several workers at a time. The usual soft limit is
    there for programs that call select(2): a worker, which runs the app, starts with it. Source: the
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
    """Return the command of a worker: that of its supervisor, but serving by itself.

    Raises:
        UsageError: there is no command that could be run.
    """
    try:
        program.require_command()
    except ReloadRefused as error:
        raise UsageError(str(error)) from error
    return replace(program, argv=(*program.argv, "--workers=0"))


def foreign(program: Program, argv: Sequence[str]) -> Program:
    """Return another command, started where this one was."""
    return replace(program, argv=tuple(argv))


def _stop_timeout(chosen: Settings) -> float | None:
    """Return until when a worker must have ended; one of ours does so itself, after hooks of SIGTERM."""
    if chosen.stop_timeout is None:
        return None
    return chosen.shutdown_timeout + chosen.stop_timeout + MARGIN


def rules_of(chosen: Settings, *, ours: bool) -> Rules:
    """Return the fleet's rules for these settings."""
    return Rules(
        size=max(chosen.workers, 1),
        most=MAX_PROCESSES,
        start_timeout=chosen.start_timeout,
        probation=chosen.probation,
        stop_timeout=_stop_timeout(chosen),
        end_timeout=chosen.shutdown_timeout + LEEWAY,
        max_draining=chosen.max_draining,
        surge=chosen.surge or None,
        watchdog=chosen.worker_watchdog,
        all_ping=ours,
        assume_ready=None if chosen.notify else ASSUME_READY,
        jitter=lambda: random.uniform(0.8, 1.2),
    )
