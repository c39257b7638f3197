"""Runs a target, and sees when it crashes, hangs, leaks or grows."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sockact.errors import SockactError

_clear_caches: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
"""Empties the interpreter's cache of attributes, which keeps names that were made for each look-up."""

Target = Callable[[bytes], None]

CPU = 3.0
"""Seconds of CPU that one input may take; none takes more than a few milliseconds."""

WALL = 60.0
"""Seconds that one input may take on a busy machine, sleeping included."""

CLOSED_WITHIN = 20.0
"""Seconds in which threads beside the event loop close what is slow to close."""

TIMES = 4
"""Measurements of which each must see growth."""

WARMUP, ROUNDS, PASSES = 2, 4, 8
"""Passes in which caches fill; rounds of which each must grow for it to be growth; passes in a round."""

LEAST = 250
"""Bytes by which each round has to grow: so much has an object in each pass."""


class Broken(AssertionError):  # noqa: N818 - the text says which
    """Raised when a promise is broken that holds for every input."""


class Hang(BaseException):
    """Raised within an input that takes too long; no code under test catches it by accident."""


def examine(target: Target, data: bytes) -> None:
    """Run a target on an input, and fail unless it ends in time and leaves no descriptor open."""
    before = open_descriptors()
    answer(target, data)
    if open_descriptors() > before:
        _see_closed(before)


def answer(target: Target, data: bytes) -> None:
    """Run a target on an input; an error of sockact's own is an answer."""
    logging.disable()
    try:
        with _limited():
            target(data)
    except SockactError as error:
        str(error)
    except Hang as hang:
        raise Broken(f"no end: {hang}") from hang
    finally:
        logging.disable(logging.NOTSET)


def examine_large(target: Target, data: bytes, size: int) -> None:
    """Run a target on an input that is repeated up to a size: fail if it takes more than linear time."""
    if data:
        examine(target, (data * (size // len(data) + 1))[:size])


def examine_growth(target: Target, inputs: Sequence[bytes]) -> None:
    """Run a target on the same inputs again and again; fail if memory grows each time."""
    for _ in range(TIMES):
        if (growth := _growth(target, inputs)) is None:
            return  # a cache fills for some time, and then no more; a thread comes and goes
    guilty = [data for data in inputs if _growth(target, [data]) is not None]
    raise Broken(f"memory grows with each round, in bytes {growth}: {(guilty or inputs)[:3]!r}")


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def _see_closed(before: int) -> None:
    """Fail unless what is open is closed soon."""
    gc.collect()  # a socket in a cycle is closed by its collection
    deadline = time.monotonic() + CLOSED_WITHIN
    while (now := open_descriptors()) > before:
        if time.monotonic() > deadline:
            raise Broken(f"{now - before} descriptors stay open: {_names()}")
        time.sleep(0.002)


def _names() -> list[str]:
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(names)


def _growth(target: Target, inputs: Sequence[bytes]) -> list[int] | None:
    """Return by how many bytes each round has grown, if all have."""
    before = open_descriptors()
    for data in WARMUP * list(inputs):
        answer(target, data)
    gc.collect()
    gc.freeze()  # all that is here already needs not to be looked at again and again
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(2 + ROUNDS):  # the first one has what tracemalloc has not seen being made
            for data in PASSES * list(inputs):
                answer(target, data)
            _see_closed(before)  # also by threads
            gc.collect()
            _clear_caches()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    growth = [after - before for before, after in itertools.pairwise(sizes[1:])]
    return growth if min(growth) >= LEAST else None


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise Hang in the code that runs within, at the limits."""
    if "atheris" in sys.modules:  # libFuzzer has a limit and a SIGALRM of its own
        with _limit(signal.SIGVTALRM, signal.ITIMER_VIRTUAL, CPU):
            yield
        return
    with (
        _limit(signal.SIGVTALRM, signal.ITIMER_VIRTUAL, CPU),
        _limit(signal.SIGALRM, signal.ITIMER_REAL, WALL),
    ):
        yield


@contextlib.contextmanager
def _limit(number: signal.Signals, timer: int, seconds: float) -> Iterator[None]:
    def over(*_: Any) -> None:
        raise Hang(f"{seconds:g} s {'of CPU' if timer == signal.ITIMER_VIRTUAL else 'on the clock'}")

    before = signal.signal(number, over)
    signal.setitimer(timer, seconds, 1.0)  # again, where the first one was caught
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)
