"""The manager's descriptor store, in which connections wait for the process that comes after this one.

systemd passes what it stores to the next process of the unit, beside the sockets; how much it stores is
`FileDescriptorStoreMax=`, systemd.service(5). Where the unit stops for good it closes all of it instead,
with requests in it that nobody has read: only this process's drain loses none of them. So a process that is
to stop has to know which of both it is:

    told by a signal                 started again (`signals.FOLLOWED`, which `ExecStop=` sends)
    a job of systemd's for the unit  as it says, where this process may ask: as root, for a service of a
                                     user's manager, or where the system bus runs and knows this user
    nothing                          taken for a stop: to lose no request comes before keeping connections
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
from collections.abc import Sequence

from sockact.handover.transfer import BATCH, CONNECTION, keepable
from sockact.protocols.notify import Notifier
from sockact.system.signals import FOLLOWED
from sockact.systemd import unit_files
from sockact.untrusted.text import told

PATIENCE = 2.0
"""Seconds that systemd may take to say which job it is at."""

logger = logging.getLogger(__package__)


class Store:
    """The store of this process's manager.

    Its next process gets what it stores with the limits that this one has now.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._most = keepable()

    async def room(self, *, followed: bool) -> int:
        """Return how many connections a successor would get, now that this process is to stop.

        Args:
            followed: whether this process was told that it has one; else systemd is asked.
        """
        room = min(self._notifier.storage, self._most)
        return room if room and (followed or await _asked()) else 0

    def put(self, descriptors: Sequence[int]) -> None:
        """Store copies of connections; they stay open here."""
        if not self._notifier.storage:
            return
        for start in range(0, len(descriptors), BATCH):
            self._notifier.store(descriptors[start : start + BATCH], CONNECTION, must=True)

    def explain(self) -> None:
        """Say so, if this process and systemd do not know the same of the store."""
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
        """Let the manager forget all connections: its copies would keep open what the app has closed."""
        if self._notifier.storage:
            self._notifier.forget(CONNECTION)


async def _asked() -> bool:
    """Ask systemd, in a thread; whatever keeps this process from that, its drain is not to end with it."""
    try:
        return await asyncio.to_thread(is_followed)
    except Exception as error:  # noqa: BLE001 - no thread is left, or an app forbids to start programs
        return _unknown(unit_files.cgroup_of().rpartition("/")[2], told(error))


def is_followed() -> bool:
    """Tell whether systemd says that it starts this unit again once this process has ended; it blocks."""
    cgroup = unit_files.cgroup_of()
    unit = cgroup.rpartition("/")[2]
    if not unit:
        return False
    scope = "--user" if unit_files.is_users(cgroup) else "--system"
    command = ["systemctl", scope, "list-jobs", "--no-legend", "--plain", unit]
    # With KillMode=control-group systemd ends all that is in the unit's cgroup, again and again until it
    # finds nobody: also who has just been started to ask.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _unknown(unit, str(error))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if done.returncode:
        return _unknown(unit, done.stderr.strip())
    jobs = [line.split() for line in done.stdout.splitlines()]
    return any(job[1] == unit and "start" in job[2] for job in jobs if len(job) > 2)


def _unknown(unit: str, reason: str) -> bool:
    """Say that a stop is assumed, and what a unit has to say to keep connections over a restart."""
    if _says_so_itself():
        return False  # and it has not: a stop, or a restart in a reload, in which ExecStop= is not run
    logger.info(
        "systemd does not tell whether %s starts again (%s): connections are closed in order, as for a "
        "stop; ExecStop= in units/app.service would tell",
        unit,
        reason,
    )
    return False


def _says_so_itself() -> bool:
    """Tell whether this unit has an ExecStop= that tells its service of a restart."""
    service = unit_files.of_this_process(os.environ)
    commands = () if service is None else service.read().get("Service.ExecStop", ())
    return any(FOLLOWED.name.removeprefix("SIG") in re.findall(r"\w+", each) for each in commands)


def allowed() -> int | None:
    """Return how many descriptors systemd stores for this unit, by its files; None if none is found."""
    unit = unit_files.of_this_process(os.environ)
    if unit is None or unit.fragment is None:
        return None
    most = ["0", *unit.read().get("Service.FileDescriptorStoreMax", ())][-1]
    return int(most) if most.isascii() and most.isdecimal() and len(most) < 10 else 0
