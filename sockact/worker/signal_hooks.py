"""Hooks around the effect of a signal.

The effect is delayed no longer than the hooks before it may take. When the same signal comes again
meanwhile, the hooks are cancelled, and the effect comes at once: a second signal is urgent.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

from sockact.hooks import after, before
from sockact.lifecycle.tasks import Background
from sockact.worker.hook_runner import HookRunner


class SignalHooks:
    """Runs the hooks before a signal, then its effect, then the hooks after it.

    Args:
        hooks: runs them.
        background: the background tasks, in which they run.
        limits: seconds for all hooks before or after a signal, where that is not `limit`.
        limit: seconds for the hooks of other signals.
    """

    def __init__(
        self,
        hooks: HookRunner,
        background: Background,
        limits: Mapping[signal.Signals, float],
        limit: float,
    ) -> None:
        self._hooks = hooks
        self._background = background
        self._limits = limits
        self._limit = limit
        self._delayed: dict[signal.Signals, tuple[list[Callable[[], None]], asyncio.Task[None]]] = {}

    def deliver(self, number: signal.Signals, effect: Callable[[], None]) -> None:
        """Handle a signal that has come; `effect` is called now, or after the hooks before it."""
        if number in self._delayed:
            effects, hooks = self._delayed[number]
            effects.append(effect)
            hooks.cancel()
        elif self._hooks.hooks(before(number)):
            hooks = self._background.start(self._hooks.run(before(number), self._limit_of(number)))
            self._delayed[number] = [effect], hooks
            # A callback, and no task that waits: it is called even if the drain is aborted first.
            hooks.add_done_callback(lambda _: self._take_effect(number, self._delayed.pop(number)[0]))
        else:
            self._take_effect(number, [effect])

    def _take_effect(self, number: signal.Signals, effects: Sequence[Callable[[], None]]) -> None:
        for effect in effects:
            effect()
        if self._hooks.hooks(after(number)):
            self._background.start(self._hooks.run(after(number), self._limit_of(number)))

    def _limit_of(self, number: signal.Signals) -> float:
        return self._limits.get(number, self._limit)
