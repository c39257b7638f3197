"""Consent: a supervisor asks its workers before a reload, for only they know the app's `on_reload` hooks.

    worker        supervisor
    ASK=1                         at its start, or when it first has a hook for that
                  SIGHUP          before a reload; the signal, or the order
    CONSENT=                      it may begin; or why not

Who has said nothing is not asked: a worker that hangs shall not hold up the reload that may cure it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from sockact.errors import ReloadRefused
from sockact.protocols.assignments import ASK, CONSENT

logger = logging.getLogger(__package__)


class Consent:
    """What a supervisor has asked its workers.

    Args:
        ask: sends the question to a worker.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._wanting: set[int] = set()
        self._pending: set[int] = set()
        self._refusal = ""
        self._settled = asyncio.Event()

    async def obtain(self, workers: Sequence[int], limit: float) -> None:
        """Ask those of `workers` that want to be asked, and wait `limit` seconds for their answers.

        Raises:
            ReloadRefused: one is against it; says why.
        """
        self._pending = self._wanting.intersection(workers)
        self._refusal = ""
        self._settled.clear()
        for worker in sorted(self._pending):
            self._ask(worker)
        self._settle()
        try:
            async with asyncio.timeout(limit):
                await self._settled.wait()
        except TimeoutError:
            silent = ", ".join(f"worker={worker}" for worker in sorted(self._pending))
            logger.warning("%s did not say within %g s whether a reload may begin: it does", silent, limit)
        finally:
            self._pending = set()
        if self._refusal:
            raise ReloadRefused(self._refusal)

    def heard(self, worker: int, said: Mapping[str, str]) -> None:
        """Note what a worker has said."""
        if ASK in said:
            self._wanting.add(worker)
        if CONSENT in said and worker in self._pending:
            self._pending.discard(worker)
            self._refusal = self._refusal or said[CONSENT]
            self._settle()

    def forget(self, worker: int) -> None:
        """Wait no more for one that has ended."""
        self._wanting.discard(worker)
        self._pending.discard(worker)
        self._settle()

    def _settle(self) -> None:
        if self._refusal or not self._pending:
            self._settled.set()
