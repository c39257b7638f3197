"""Hooks around the effect of a signal.

The effect is not kept back for longer than the hooks before it may take. It comes at once, and the hooks
are cut short, when the same signal comes again meanwhile: who asks twice is in a hurry.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

from sockact.hooks import after, before
from sockact.lifecycle.tasks import Background
from sockact.worker.hook_runner import HookRunner


class SignalHooks:
    """Lets signals take effect, with the hooks before and after that.

    Args:
        hooks: runs them.
        background: where they run.
        limits: seconds for all hooks before or after a signal, where that is not `limit`.
        limit: seconds for those of other signals.
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
        self._kept_back: dict[signal.Signals, tuple[list[Callable[[], None]], asyncio.Task[None]]] = {}

    def deliver(self, number: signal.Signals, effect: Callable[[], None]) -> None:
        """Let a signal that has come take effect."""
        if number in self._kept_back:
            effects, hooks = self._kept_back[number]
            effects.append(effect)
            hooks.cancel()
        elif self._hooks.hooks(before(number)):
            hooks = self._background.start(self._hooks.run(before(number), self._limit_of(number)))
            self._kept_back[number] = [effect], hooks
            # A callback, and no task that waits: it comes even when the hammer falls first.
            hooks.add_done_callback(lambda _: self._take_effect(number, self._kept_back.pop(number)[0]))
        else:
            self._take_effect(number, [effect])

    def _take_effect(self, number: signal.Signals, effects: Sequence[Callable[[], None]]) -> None:
        for effect in effects:
            effect()
        if self._hooks.hooks(after(number)):
            self._background.start(self._hooks.run(after(number), self._limit_of(number)))

    def _limit_of(self, number: signal.Signals) -> float:
        return self._limits.get(number, self._limit)
