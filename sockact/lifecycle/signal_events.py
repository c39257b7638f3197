"""The signals of a process, turned into events of its service."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Callable, Mapping

from sockact.lifecycle.end_signals import EndSignals
from sockact.lifecycle.phases import Event
from sockact.lifecycle.service import Callbacks, Service
from sockact.system.signals import FOLLOWED, FREE

ANNOUNCED = 10.0
"""Seconds after `FOLLOWED` within which SIGTERM comes: systemd sends it when `ExecStop=` has ended. What
comes earlier, from an app or from a stranger, says nothing about the next stop."""


class SignalEvents:
    """Turns signals into events.

    Args:
        end_signals: finds out whether a signal to end is a second one.
        service: its `on_signal` is called with the signals that are no events.
        callbacks: their `on_signal` is called with each signal.
        on_event: called with each event.

    Attributes:
        handlers: the handlers of the signals.
    """

    def __init__(
        self,
        end_signals: EndSignals,
        service: Service,
        callbacks: Callbacks,
        on_event: Callable[[Event], None],
    ) -> None:
        self._followed: float | None = None
        self._ended: float | None = None
        self._end_signals = end_signals
        self._service = service
        self._on_signal = callbacks.on_signal
        self._on_event = on_event
        self._heard: set[signal.Signals] = set()
        effects: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self._told_to_end(signal.SIGTERM),
            signal.SIGINT: lambda: self._told_to_end(signal.SIGINT),
            signal.SIGQUIT: lambda: on_event(Event.QUIT),
            signal.SIGHUP: lambda: on_event(Event.RELOAD),
            signal.SIGUSR2: lambda: on_event(Event.USR2),
            FOLLOWED: self._note_followed,
            **{number: functools.partial(service.on_signal, number) for number in FREE},
        }
        self.handlers: Mapping[signal.Signals, Callable[[], None]] = {
            number: functools.partial(self._arrived, number, effect) for number, effect in effects.items()
        }

    @property
    def followed(self) -> bool:
        """True if the manager has said that it starts the service again, and has not taken it back."""
        if self._followed is None:
            return False
        ended = asyncio.get_running_loop().time() if self._ended is None else self._ended
        return ended - self._followed <= ANNOUNCED

    def obey(self, number: signal.Signals, *, unless_heard: bool = False) -> None:
        """Handle a signal as if it had come, with its hooks.

        Args:
            number: the signal.
            unless_heard: only if it has not come, and was not obeyed, before.
        """
        if not (unless_heard and number in self._heard):
            self.handlers[number]()

    def _arrived(self, number: signal.Signals, effect: Callable[[], None]) -> None:
        self._heard.add(number)
        self._on_signal(number, effect)

    def _note_followed(self) -> None:
        # Comes before the SIGTERM or in the same turn of the loop: of pending signals, the kernel delivers
        # the one with the lowest number first. The stop reads it in a later turn.
        if self._ended is not None and self.followed:
            self._followed = None
            self._service.on_called_off()
        else:
            self._followed = asyncio.get_running_loop().time()

    def _told_to_end(self, number: signal.Signals) -> None:
        now = asyncio.get_running_loop().time()
        if self._ended is None:
            self._ended = now
        second = self._end_signals.is_second(number, now)
        self._on_event(Event.KILL if second else Event.STOP)
