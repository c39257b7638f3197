"""The reloads of a service: who asked for one, and the results of the last ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sockact.protocols.control import Caller


class Reloads:
    """The reloads of one conductor.

    Args:
        callers: those who wait for the result of a reload that ends with this start.
        successor: this start is the end of a reload.
        unapplied: the changes that it did not apply.

    Attributes:
        complaint: the reason why the last one was refused; empty if it was not.
        unapplied: the changes that the last one did not apply, as only a restart does.
    """

    def __init__(
        self, callers: Sequence[Caller] = (), *, successor: bool = False, unapplied: str = ""
    ) -> None:
        self.complaint = ""
        self.unapplied = unapplied
        self._under_way = successor
        self._requested = False
        self._callers = list(callers)
        self._next_callers: list[Caller] = []
        self._last: dict[str, Any] | None = None
        self._counts = {"ok": 0, "failed": 0}

    def join(self, caller: Caller) -> None:
        """Add a caller who waits for the result of the next reload that `due` reports."""
        self._next_callers.append(caller)

    def request(self) -> None:
        """Note a request for a reload; one that is under way may have read older code."""
        self._requested = True

    def due(self) -> bool:
        """Return whether a reload was requested since the last call; its callers wait from now on."""
        requested, self._requested = self._requested, False
        if requested:
            self._under_way = True
            self._callers += self._next_callers
            self._next_callers = []
        return requested

    def restart_for(self) -> str:
        """Return the addition to a status about changes that were not applied; empty for none."""
        return f"; only a restart takes over: {self.unapplied}" if self.unapplied else ""

    def settle(self, ok: bool, text: str) -> list[Caller]:
        """Note the result of the reload under way, if it is no first start; return its callers."""
        if self._under_way:
            self._last = {"at": time.time(), "ok": ok, "text": text}
            self._counts["ok" if ok else "failed"] += 1
        self._under_way = False
        callers, self._callers = self._callers, []
        return callers

    @property
    def under_way(self) -> bool:
        """Return whether a reload is under way, rather than the first start."""
        return self._under_way

    @property
    def environ(self) -> Mapping[str, str] | None:
        """The unit's environment as the present callers know it; None if they know nothing of it."""
        known = [caller.environ for caller in self._callers if caller.environ is not None]
        return known[-1] if known else None

    @property
    def managed(self) -> bool:
        """True if the service manager waits for the result, as the process that it runs for a reload."""
        return any(caller.manager for caller in self.waiting)

    @property
    def waiting(self) -> list[Caller]:
        """The callers who have not been told a result yet."""
        return [*self._callers, *self._next_callers]

    def overview(self) -> dict[str, Any]:
        """Return `reload` and `reloads` as in `sockact.protocols.overview`."""
        return {"reload": self._last, "reloads": self._counts}
