"""The program that a parent keeps, and how it is kept."""

from __future__ import annotations

import enum
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sockact.activate.watch import FileWatch


class RestartPolicy(enum.Enum):
    """The cases in which a program that has ended is started again."""

    ALWAYS = "always"
    ON_CHANGE = "when a file has changed"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ActivationPlan:
    """The program, and how it is kept.

    Attributes:
        argv: the program and its arguments.
        environ: its environment, beside the manager's variables.
        restarts: the cases in which it is started again.
        watch: the files at whose change it is restarted, if any.
        reloads: on a change it gets SIGHUP instead.
        talks: its notifications are printed; not for a program that logs the same.
        blocked: signals that it starts with blocked.
        stop_timeout: the seconds after which a stop ends in SIGKILL; None for no limit.
        stores: so many descriptors are stored for it.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    restarts: RestartPolicy = RestartPolicy.ALWAYS
    watch: FileWatch | None = None
    reloads: bool = False
    talks: bool = True
    blocked: Collection[signal.Signals] = ()
    stop_timeout: float | None = 90.0
    stores: int = 512
