"""The succession: how the workers of one supervisor become the left-over workers of the next.

In a restart systemd ends and replaces the main process, and leaves the workers alone if the unit says so
(`KillMode=process`). They go on serving if systemd also has their descriptors in its store: a worker whose
supply and lifeline are stored does not notice that its supervisor ends, however that happens. What is
stored is described in `process.left_over`.

When the unit stops for good, systemd closes its store, and the workers that are left drain. So there is no
limit of ours for a successor that does not come: systemd knows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from sockact.handover.store import Store
from sockact.process.ledger import StatisticsLedger
from sockact.process.left_over import LeftOver, stored_name
from sockact.protocols.notify import Notifier
from sockact.systemd import unit_files

DESCRIPTORS = 4
"""Descriptors stored for each worker."""

logger = logging.getLogger(__package__)


class Succession:
    """The workers of this supervisor, and the connections that it keeps, as the next one finds them.

    Args:
        notifier: the notifier of this process.
        store: keeps connections.
        supplied: the workers are programs of ours, which another supervisor can take over, and all their
            listeners are systemd's.
        ledger: the statistics of workers; a new one, if none is given.

    Attributes:
        store: keeps connections.
        ledger: the statistics of workers.
        possible: whether the workers outlive this process.
    """

    def __init__(
        self, notifier: Notifier, store: Store, *, supplied: bool, ledger: StatisticsLedger | None = None
    ) -> None:
        self._notifier = notifier
        self.store = store
        self.ledger = StatisticsLedger(notifier) if ledger is None else ledger
        self._names: dict[int, str] = {}  # of what is stored, by the worker's number
        self.possible = supplied and notifier.storage >= DESCRIPTORS and self._is_left_alone()

    def keep(self, worker: int, generation: int, descriptors: Sequence[int]) -> None:
        """Store the descriptors of a worker that has started."""
        if not self.possible:
            return
        name = stored_name(worker, generation)
        if self._notifier.store(descriptors, name, must=True):
            self._note(worker, name)
        else:
            logger.warning("systemd did not store %s: in a restart this worker drains at once", name)

    def adopt(self, worker: LeftOver) -> None:
        """Note that systemd has stored this worker."""
        self._note(worker.number, worker.name)

    def forget(self, worker: int) -> None:
        """Remove the descriptors of a worker that has ended."""
        if (name := self._names.pop(worker, None)) is not None:
            self._notifier.forget(name)
            self._reserve()

    def _note(self, worker: int, name: str) -> None:
        self._names[worker] = name
        self._reserve()

    def _reserve(self) -> None:
        self.store.reserved = DESCRIPTORS * len(self._names) + self.ledger.stored

    def still_possible(self) -> bool:
        """Return whether the workers outlive this process by what the unit's files say now."""
        return self.possible and self._is_left_alone()

    def _is_left_alone(self) -> bool:
        return self._notifier.manager_is_systemd and unit_files.leaves_processes(os.environ)
