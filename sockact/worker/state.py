"""The lifecycle of a worker, from which its status and its phase are derived."""

from __future__ import annotations

import enum


class WorkerState(enum.Enum):
    """A state of a worker.

    Attributes:
        text: the beginning of its status; empty where counters say more.
        phase: its phase in `sockact status`.
    """

    STARTING = "starting the app", "starting"
    READY = "", "ready"
    TRYING = "trying the new code", "ready"
    DELAYING = "about to drain", "ready"
    CALLED_OFF = "about to drain", "starting"  # a stop has overtaken the start
    DRAINING = "", "draining"

    def __init__(self, text: str, phase: str) -> None:
        self.text = text
        self.phase = phase
