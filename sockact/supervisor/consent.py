"""Asks the workers for their consent before a reload: only they know the app's `on_reload` hooks.

    worker        supervisor
    ASK=1                         at its start, or when it first has a hook for that
                  SIGHUP          before a reload; the signal, or the order
    CONSENT=                      the reload may begin; or the reason against it

A worker that has not sent ASK is not asked: one that hangs must not hold up the reload that may cure it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sockact.errors import ReloadRefused
from sockact.protocols.worker_messages import WorkerMessage

logger = logging.getLogger(__package__)


class Consent:
    """The question whether a reload may begin, and the answers of the workers.

    Args:
        ask: sends the question to a worker.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._to_ask: set[int] = set()
        self._pending: set[int] = set()
        self._refusal = ""
        self._settled = asyncio.Event()

    async def obtain(self, workers: Sequence[int], limit: float) -> None:
        """Ask those of `workers` that have asked for it, and wait `limit` seconds for their answers.

        Raises:
            ReloadRefused: one is against it; says why.
        """
        self._pending = self._to_ask.intersection(workers)
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
            logger.warning(
                "%s did not answer within %g s whether a reload may begin: it begins", silent, limit
            )
        finally:
            self._pending = set()
        if self._refusal:
            raise ReloadRefused(self._refusal)

    def heard(self, worker: int, message: WorkerMessage) -> None:
        """Note a worker's message."""
        if message.asks_before_reload:
            self._to_ask.add(worker)
        if message.consent is not None and worker in self._pending:
            self._pending.discard(worker)
            self._refusal = self._refusal or message.consent
            self._settle()

    def forget(self, worker: int) -> None:
        """Wait no longer for a worker that has ended."""
        self._to_ask.discard(worker)
        self._pending.discard(worker)
        self._settle()

    def _settle(self) -> None:
        if self._refusal or not self._pending:
            self._settled.set()
