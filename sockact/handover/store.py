"""The manager's descriptor store, in which connections wait for the process that follows this one.

systemd passes the descriptors in its store to the next process of the unit, beside the sockets; how many it
stores is `FileDescriptorStoreMax=`, systemd.service(5). When the unit stops for good it closes all of them
instead, with requests in them that nobody has read: only a drain of this process loses none of them. So a
process that is to stop has to know which of the two it is:

    a signal tells         started again (`signals.FOLLOWED`, which `ExecStop=` sends)
    a job of systemd's     as the job says, if this process may ask: as root, for a service of a user's
    for the unit           manager, or where the system bus runs and knows this user
    nothing                taken for a stop: to lose no request comes before keeping connections
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from sockact.errors import UnavailableError
from sockact.handover.transfer import CONNECTION, DATAGRAM_CAPACITY, keepable
from sockact.protocols.notify import Notifier
from sockact.system import loop_tasks
from sockact.system.signals import FOLLOWED
from sockact.systemd import systemctl, unit_files
from sockact.untrusted.number import decimal
from sockact.untrusted.text import told

ASK_INTERVAL = 1.0
"""Seconds until systemd is asked again whether this process has a successor."""

logger = logging.getLogger(__package__)


class Store:
    """The store of this process's manager.

    The next process gets its content with the limits that this one has now.

    Attributes:
        reserved: how many descriptors it has, or will have, that are no connections.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._most = keepable()
        self._told = False
        self.reserved = 0

    @property
    def capacity(self) -> int:
        """Return for how many connections there is room."""
        return max(min(self._notifier.storage, self._most) - self.reserved, 0)

    async def room(self, *, followed: bool) -> int:
        """Return how many connections a successor would get, now that this process is to stop.

        Args:
            followed: this process was told that it has a successor; else systemd is asked.
        """
        self._told = followed
        return self.capacity if self.capacity and await self.still_followed() else 0

    async def still_followed(self) -> bool:
        """Ask systemd again whether a successor comes; what a signal has told, another one takes back."""
        return self._told or await _ask()

    @contextlib.contextmanager
    def watched(self, on_called_off: Callable[[], None]) -> Iterator[None]:
        """Call `on_called_off` in the body when no successor comes after all: a stop replaces a restart."""
        watching = loop_tasks.begin(self._watch(on_called_off))
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self, on_called_off: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(ASK_INTERVAL)
            if not await self.still_followed():
                on_called_off()
                return

    def put(self, descriptors: Sequence[int], *, must: bool = True) -> list[int]:
        """Store copies of connections; they stay open here.

        Args:
            descriptors: the connections.
            must: wait a moment for room in the manager's queue.

        Returns:
            Those that are not stored: the manager's queue is full, or it has no store.
        """
        left: list[int] = []
        for start in range(0, len(descriptors), DATAGRAM_CAPACITY):
            batch = descriptors[start : start + DATAGRAM_CAPACITY]
            if not (self._notifier.storage and self._notifier.store(batch, CONNECTION, must=must)):
                left += batch
        return left

    def explain(self) -> None:
        """Log a warning if this process and systemd do not agree on the size of the store."""
        told = self._notifier.storage
        most = allowed() if self._notifier.manager_is_systemd else None
        if most is None or most == told:
            return
        found = f"FDSTORE={told}" if told else "no FDSTORE"
        text = (
            f"found {found} in the environment, but FileDescriptorStoreMax={most} in the unit: "
            f"connections above {min(most, told)} end with this process; "
            f"expected Environment=FDSTORE={most}"
        )
        logger.warning("%s%s", text, "" if told else " (systemd before 254 does not set it by itself)")

    def clear(self) -> None:
        """Remove all connections from the store: its copies would keep open what the app has closed."""
        if self._notifier.storage:
            self._notifier.forget(CONNECTION)

    def forget(self, names: Iterable[str]) -> None:
        """Remove other descriptors from the store, by the names under which they are stored."""
        for name in names:
            self._notifier.forget(name)


async def _ask() -> bool:
    """Ask systemd, in a thread; a failure to ask must not end this process's drain."""
    try:
        return await loop_tasks.in_thread(is_followed)
    except Exception as error:  # noqa: BLE001 - no thread is left, or an app forbids to start programs
        return _unknown(unit_files.cgroup_of().rpartition("/")[2], told(error))


def is_followed() -> bool:
    """Return whether systemd says that it starts this unit again once this process has ended; blocks."""
    cgroup = unit_files.cgroup_of()
    unit = cgroup.rpartition("/")[2]
    if not unit:
        return False
    try:
        jobs = systemctl.jobs(unit, "--user" if unit_files.is_users(cgroup) else "--system")
    except UnavailableError as error:
        return _unknown(unit, str(error))
    return any("start" in job for job in jobs)


def _unknown(unit: str, reason: str) -> bool:
    """Log that a stop is assumed, and what the unit needs to keep connections over a restart."""
    if _tells_itself():
        return False  # and it has not told: a stop, or a restart in a reload, in which ExecStop= is not run
    logger.info(
        "systemd does not tell whether %s starts again (%s): connections are closed in order, as for a "
        "stop; ExecStop= in units/app.service would tell",
        unit,
        reason,
    )
    return False


def _tells_itself() -> bool:
    """Return whether this unit has an ExecStop= that tells its service of a restart."""
    service = unit_files.of_this_process(os.environ)
    commands = () if service is None else service.read().get("Service.ExecStop", ())
    return any(FOLLOWED.name.removeprefix("SIG") in re.findall(r"\w+", each) for each in commands)


def allowed() -> int | None:
    """Return how many descriptors systemd stores for this unit, by its files; None if none is found."""
    unit = unit_files.of_this_process(os.environ)
    if unit is None or unit.fragment is None:
        return None
    most = ["0", *unit.read().get("Service.FileDescriptorStoreMax", ())][-1]
    return decimal(most, digits=9) or 0
