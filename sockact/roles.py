"""The choice of a process's role: it serves, or supervises workers that serve.

Only what the role needs is imported: a supervisor loads no HTTP engine.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.config import settings
from sockact.config.settings import Settings
from sockact.errors import SettingsError
from sockact.process import pid1, resource_tracker, without_ssl
from sockact.process.launch import Process, live
from sockact.protocols.environment import OWN

logger = logging.getLogger(__package__)


def run(app: object, program: Sequence[str], given: Mapping[str, Any]) -> None:
    """Run the process of `sockact run`, with either an app or a program."""

    def take_role(process: Process, chosen: Settings) -> None:
        if app is not None and process.serves_itself(chosen):
            _serve(process, chosen, app, import_here=True)
        else:
            from sockact.supervisor.main import supervise_in

            supervise_in(process, chosen, program)

    atexit.register(resource_tracker.wait_for_end)  # the first to register is the last to be called
    live(take_role, given)


def serve(app: object, given: Mapping[str, Any], sock: Any) -> None:
    """Run a process whose program has called `sockact.serve`."""

    def take_role(process: Process, chosen: Settings) -> None:
        if sock is not None:
            process.offer(sock)
        if not process.serves_itself(chosen):
            if process.program.argv:
                _become_supervisor(process, chosen)
            logger.info("%s: one process serves", process.program.obstacle)
        _serve(process, chosen, app, import_here=False)

    live(take_role, given)


def _serve(process: Process, chosen: Settings, app: object, *, import_here: bool) -> None:
    if os.getpid() == pid1.PID and process.program.argv:
        process.sockets.check(told=process.listen_given)
        command = pid1.command(process.program.argv, ours=import_here)
        process.become(command, process.program.environ, process.sockets.callers)
    if chosen.canary and not (process.supervised or process.trial):
        raise SettingsError(f"canary={chosen.canary}: expected other workers beside it, found none")
    without_ssl.undo()
    from sockact.worker.main import serve_in

    serve_in(process, chosen, app, import_here=import_here)


def _become_supervisor(process: Process, chosen: Settings) -> None:
    """Execute a supervisor in place of the program; its workers run the program's own command.

    -P: a module of the program with the name of one of Python's is not for the supervisor.
    """
    process.sockets.check(told=process.listen_given)
    given = process.listen_given  # even if it is the default
    told = settings.option("listen", chosen.listen) if given else []
    options = [each for each in settings.options(chosen) if each not in told]
    sockact = (process.program.argv[0], "-P", "-m", "sockact", "run", *options, *told)
    environ = {**process.program.environ, OWN: "1"}
    process.become((*sockact, "--", *process.program.argv), environ, process.sockets.callers)
