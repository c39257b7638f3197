"""Signals that are held back over execve(2), and remembered until an event loop handles them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from sockact.system import signals
from sockact.system.signals import EarlySignals


@pytest.fixture
def early() -> Iterator[EarlySignals]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    early = EarlySignals()
    yield early
    while signal.sigpending():
        signal.sigwait(signal.sigpending())
    early.restore()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def pending() -> set[int]:
    return set(signal.sigpending())


def test_what_was_remembered_is_pending_for_the_program_that_follows(early: EarlySignals) -> None:
    signals.remember_term()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTSTP):
        signal.raise_signal(number)

    signals.hold([signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP])

    assert pending() == {signal.SIGUSR1, signal.SIGTERM}


def test_what_comes_while_it_is_held_back_is_remembered_by_the_program_that_follows(
    early: EarlySignals,
) -> None:
    signals.hold([*signals.REMEMBERED, signal.SIGTERM])
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.raise_signal(number)
    early.restore()  # the other program begins with the defaults

    EarlySignals()

    assert pending() == set()
    assert set(signals._seen) == {signal.SIGHUP, signal.SIGTERM}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(signals.HANDLED)


@pytest.mark.parametrize("left", [signal.SIG_DFL, None], ids=["default", "as it was"])
def test_sigterm_is_remembered_where_the_program_had_a_handler_that_is_not_there_any_more(
    early: EarlySignals, left: signal.Handlers | None
) -> None:
    early.restore()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    again = EarlySignals()
    try:
        if left is not None:
            signal.signal(signal.SIGTERM, left)

        signals.remember_term()

        signal.raise_signal(signal.SIGTERM)  # and this process lives
        assert again.others().get(signal.SIGTERM) is not None
    finally:
        again.restore()
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_came_later_stays(early: EarlySignals) -> None:
    def theirs(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, theirs)

    signals.remember_term()

    assert signal.getsignal(signal.SIGTERM) is theirs
