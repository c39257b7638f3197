"""The functions of sockact that are replaced in a simulation: those that ask the kernel, or systemd."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from sockact.handover import store
from sockact.process import child, child_handle, left_over
from sockact.protocols.notify import NotifySocket
from sockact.supervisor import balancer
from sockact.system import loop_tasks
from sockact.systemd import unit_files
from tests.simulation.roles import Machine, spawner
from tests.simulation.systemd import SimulatedSystemd
from tests.simulation.wires import SimulatedNotifySocket


@contextlib.contextmanager
def in_place_of_the_kernel(machine: Machine, systemd: SimulatedSystemd) -> Iterator[None]:
    """Let the code in the body meet the simulated kernel and systemd."""
    kernel = machine.kernel
    found = [0]

    def pid_of(pidfd: int) -> int:
        process = kernel.by_pidfd(pidfd)
        found[0] = process.pid if process is not None and process.lives else 0
        return found[0]

    def bound_socket(*, stores: bool, bound: Any) -> NotifySocket:
        return SimulatedNotifySocket(bound, found[0], stores=stores)

    with contextlib.ExitStack() as patches:
        for module, name, new in (
            (child_handle, "spawn", spawner(machine)),
            (child, "exit_code", lambda pid: kernel.processes[pid].code),
            (child, "end_now", lambda pid: kernel.processes[pid].end(-signal.SIGKILL)),
            (child, "Leftovers", _NoLeftovers),
            (child.Child, "send", lambda self, number: kernel.processes[self.pid].send(number)),
            (left_over, "_pid", pid_of),
            (left_over, "NotifySocket", bound_socket),
            (balancer, "_new_board", lambda: None),
            (store, "is_followed", systemd.is_followed),
            (unit_files, "leaves_processes", lambda _: True),
            (unit_files, "awaits_reloading", lambda _: False),
            (unit_files, "restarts_slower", lambda _: False),
            (loop_tasks, "begin", lambda work: asyncio.get_running_loop().create_task(work)),
            (loop_tasks, "in_thread", _at_once),
            (resource, "prlimit", lambda *_: (1024, 1024)),
        ):
            patches.enter_context(patch.object(module, name, new))
        yield


async def _at_once(function: Callable[..., Any], *arguments: object) -> Any:
    """Call it now: a thread would have a time of its own."""
    return function(*arguments)


class _NoLeftovers:
    """The rest of a process group: nothing."""

    def __init__(self, group: int, seconds: float, gone: Callable[[], None]) -> None:
        self._gone = gone

    def end(self) -> None:
        self._gone()

    def kill(self) -> None:
        """Nothing is left."""
