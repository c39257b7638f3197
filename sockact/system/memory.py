"""Returns memory to the kernel that this process does not need."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

SHARE = 0.01
"""The part of the time that is spent on it at most, whoever asks how often."""


def free() -> None:
    """Collect garbage, and return free memory of malloc(3) to the kernel.

    An app that has switched automatic collection off decides itself when it has time for one.

    Source: malloc_trim(3).
    """
    if gc.isenabled():
        gc.collect()
    try:
        import ctypes  # of the few processes that are ever asked

        trim = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):  # only glibc has it, and a Python may lack ctypes
        return
    trim(ctypes.c_size_t(0))


class Trimmer:
    """Frees memory when asked to, but not more often than a share of the time allows.

    A collection stops the whole process for as long as it takes, and takes long where there is much to look
    at: a second, with ten million objects.

    Args:
        free: frees memory.
        clock: returns the time.
    """

    def __init__(
        self, free: Callable[[], None] = free, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = free
        self._clock = clock
        self._not_before = clock()

    def trim(self) -> None:
        """Free memory, unless that has been done lately."""
        begun = self._clock()
        if begun >= self._not_before:
            self._free()
            ended = self._clock()
            self._not_before = ended + (ended - begun) / SHARE
