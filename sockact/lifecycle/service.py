"""The interface between a conductor and the service that it leads: verbs, callbacks, and the result."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sockact.lifecycle.pausing import Pausing
from sockact.protocols.control import Caller
from sockact.protocols.counters import Counters


class Service(Protocol):
    """A worker, or a supervisor of workers.

    Its verbs are start, reload and stop; a reload is `try_reload`, then `take_over`.

    Attributes:
        pausing: its pause.
    """

    pausing: Pausing

    @property
    def name(self) -> str:
        """The beginning of its status: `gen 2`."""

    async def start(self) -> None:
        """Get ready to answer requests; raises SockactError when that fails."""

    async def try_reload(self) -> None:
        """Find out whether the reload may begin; raises ReloadRefused when it may not."""

    async def take_over(self) -> bool:
        """Replace the old code by the new; raises ReloadRefused as long as the old code can go on.

        Returns:
            True if this process itself has to become the new code (see `Ending.replaced`).
        """

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        """Drain and end; also called when `start` or `take_over` was cancelled half-way.

        Args:
            abort: abort what is in flight, rather than to wait for it.
            followed: the manager has said that it starts the service again.
        """

    def abort(self) -> None:
        """Abort what is left of the drain under way."""

    def on_called_off(self) -> None:
        """Called when the manager takes back that it starts the service again."""

    def on_signal(self, number: signal.Signals) -> None:
        """Called when one of `signals.FREE` has come."""

    @property
    def counters(self) -> Counters:
        """The work of this service, in numbers."""

    def status(self) -> str:
        """Return the present activity in a few words, for `systemctl status`."""

    def overview(self) -> dict[str, Any]:
        """Return `generation` and `workers` as in `sockact.protocols.overview`."""


def _take_effect(_: signal.Signals, effect: Callable[[], None]) -> None:
    effect()


class Callbacks(NamedTuple):
    """The parts of a service's process that its conductor calls.

    Attributes:
        on_signal: called with each signal that comes and with its effect; calls that effect.
        keep_signals: returns a context in which the handlers that are installed now are kept.
        check_signals: called at times to see whether they still are installed.
        on_started: called when the start is done.
        on_reloaded: called when a reload has ended, with whether it has succeeded.
        unapplied: called with the unit's environment as the caller of a reload knows it; returns the
            changes that the reload did not apply.
        remark: returns what else is to be said about a reload that is done; empty for nothing.
    """

    on_signal: Callable[[signal.Signals, Callable[[], None]], None] = _take_effect
    keep_signals: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    check_signals: Callable[[], None] = lambda: None
    on_started: Callable[[], None] = lambda: None
    on_reloaded: Callable[[bool], None] = lambda _: None
    unapplied: Callable[[Mapping[str, str] | None], Sequence[str]] = lambda _: ()
    remark: Callable[[], str] = lambda: ""


class Ending(NamedTuple):
    """The result of a service's life in this process.

    Attributes:
        status: the exit status.
        replaced: this process now has to become the new code, in place.
        killed: it has to end at once: it was told twice to end.
        callers: those who still wait for the result of the reload.
        unapplied: the changes that the reload did not apply.
    """

    status: int = 0
    replaced: bool = False
    killed: bool = False
    callers: Sequence[Caller] = ()
    unapplied: str = ""
