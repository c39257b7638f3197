"""The readiness of a service made of workers, for load balancers: whether any worker serves.

The phase alone does not tell: in a restart the workers of the supervisor before serve while this one is
activating, and in an active service all workers may have died.
"""

from __future__ import annotations

from collections.abc import Callable

from sockact.lifecycle.phases import Phase
from sockact.supervisor.service import Supervisor

_ENDING = (Phase.DEACTIVATING, Phase.INACTIVE, Phase.FAILED)


class FleetReadiness:
    """The readiness that a supervisor tells; see `lifecycle.readiness`.

    Args:
        phase: returns the present phase.
        supervisor: knows its workers.
        drain_delay: the seconds for which a stop goes on accepting; each worker keeps to it by itself.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        phase: Callable[[], Phase],
        supervisor: Supervisor,
        drain_delay: float,
        clock: Callable[[], float],
    ) -> None:
        self._phase = phase
        self._supervisor = supervisor
        self._drain_delay = drain_delay
        self._clock = clock

    @property
    def word(self) -> str:
        """One of the words of `lifecycle.readiness`."""
        if self._ends:
            return "draining"
        started = self._phase() is not Phase.ACTIVATING
        return "ready" if self._supervisor.serves(started=started) else "starting"

    @property
    def refusing(self) -> bool:
        """True when a stop accepts no more."""
        since = self._supervisor.draining_since
        return self._ends and since is not None and self._clock() >= since + self._drain_delay

    @property
    def _ends(self) -> bool:
        """True in a stop, but not if the workers go on for the next supervisor."""
        return self._phase() in _ENDING and self._supervisor.left is None
