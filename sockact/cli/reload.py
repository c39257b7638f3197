"""`sockact reload`: reloads a service, and waits for the result.

systemd runs it at every `systemctl reload`, and may terminate it there at any moment.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from sockact.cli import service_call
from sockact.cli.arguments import RELOAD_TIMEOUT, add_service
from sockact.errors import UnavailableError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_service(command)


def run(unit: str | None, control: str | None, timeout: str | None, *, user: bool) -> int:
    """Reload a service, and wait for the result: a unit's, or in `ExecReload=` the one of this process."""
    if unit is None:
        # `systemctl stop` terminates a reload under way: dying of it would make the stop a failure. The
        # unit has SIGTERM blocked until here.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return service_call.show(_reload_own(control, timeout or RELOAD_TIMEOUT))
    return service_call.carry_out("reload", unit, control, timeout or RELOAD_TIMEOUT, user=user)


def _reload_own(control: str | None, timeout: str) -> dict[str, Any]:
    from sockact.cli.survivors import MainProcess
    from sockact.process.unapplied import settings_in

    main_pid = service_call.main_pid()
    main_process = MainProcess(main_pid)
    # Only systemd sets MAINPID, for a process of the unit: the other variables are then the unit's.
    known = {"manager": True, "environ": settings_in(os.environ)} if main_pid else {}
    try:
        return service_call.ask("reload", os.environ, control, timeout, known)
    except UnavailableError:
        if main_process.has_ended():
            main_process.wait_for_the_others()
        raise
