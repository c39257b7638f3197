"""systemd, as far as a service knows it: it holds the socket and the store, and starts, reloads and ends.

inactive      a connection that waits starts the service
activating    until READY=1
active        until the main process ends
deactivating  until it has ended
failed        a start limit was hit
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping

from sockact.handover.transfer import CONNECTION
from sockact.protocols.notify import Notification
from tests.simulation.kernel import SimulatedProcess
from tests.simulation.roles import Machine, SupervisorProcess, client_of
from tests.simulation.wires import SimulatedNotifySocket, SimulatedReporter, datagrams

RESTART_PAUSE = 0.1
START_TIMEOUT = 90.0
STOP_TIMEOUT = 60.0
WATCHDOG = 30.0


class SimulatedCaller:
    """A `sockact reload` that waits for its answer.

    Args:
        main: the main process that it asks.
        release: the version on the disk when it asked.
        asked: when that was.
        answered: called with each answer.
    """

    def __init__(
        self,
        main: SupervisorProcess,
        release: int,
        asked: float,
        answered: Callable[[SimulatedCaller, bool, str], None],
    ) -> None:
        self.manager = True
        self.environ: Mapping[str, str] | None = None
        self.main, self.release, self.asked = main, release, asked
        self.answers: list[bool] = []
        self._answered = answered

    def answer(self, ok: bool, text: str, **_: object) -> None:
        self.answers.append(ok)
        self._answered(self, ok, text)

    def hang_up(self) -> None:
        """Nothing is left to do."""


class SimulatedSystemd:
    """The service manager.

    Args:
        machine: the machine.
        storage: FileDescriptorStoreMax=.
        bus: whether it answers what a service asks about its own job.

    Attributes:
        state: the state of the unit.
        job: what was asked for: "restart", "stop" or nothing.
        told: the notifications that tell of a state, of the present main process.
        store: the stored descriptors.
        astonished: what happened though nobody asked for it.
    """

    def __init__(self, machine: Machine, *, storage: int, bus: bool) -> None:
        self.machine = machine
        self.state = "inactive"
        self.job = ""
        self.told: list[str] = []
        self.store: list[tuple[str, int]] = []
        self.main: SupervisorProcess | None = None
        self.astonished: list[str] = []
        self.process = SimulatedProcess(machine.kernel, "systemd")
        self._storage = storage
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._notify: SimulatedNotifySocket | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # What an administrator asks for. All of it runs in the process of systemd.

    def start(self) -> None:
        """Start the service, or listen for it: `systemctl start app.socket app.service`."""
        self.process.run(self._start)

    def restart(self) -> None:
        self.process.run(self._loop.call_soon, self._begin_end, "restart")

    def stop(self) -> None:
        self.process.run(self._loop.call_soon, self._begin_end, "stop")

    def reload(self, answered: Callable[[SimulatedCaller, bool, str], None]) -> SimulatedCaller | None:
        """Ask for a reload, as ExecReload= does; None if the service does not run."""
        main = self.main
        if self.state != "active" or main is None or main.conductor is None or self.job:
            return None
        caller = SimulatedCaller(main, self.machine.release.version, self._loop.time(), answered)
        main.process.run(self._loop.call_soon, main.conductor.request_reload, caller)
        return caller

    def pause(self, seconds: float, answered: Callable[[SimulatedCaller, bool, str], None]) -> None:
        """Pause the service, as `sockact pause` does, if it runs."""
        main = self.main
        if self.state == "active" and main is not None and main.conductor is not None:
            caller = SimulatedCaller(main, self.machine.release.version, self._loop.time(), answered)
            main.process.run(self._loop.call_soon, main.conductor.request_pause, caller, seconds)

    def is_followed(self) -> bool:
        """Answer the service's question for its job."""
        return self._bus and self.job == "restart"

    # The main process.

    def _start(self) -> None:
        self._loop.remove_reader(self.machine.listener.fileno())
        self.state, self.job, self.told = "activating", "", []
        ours, theirs = datagrams()
        reporter = SimulatedReporter(
            theirs, storage=self._storage, watchdog=WATCHDOG, systemd=True, read=self._read_all
        )
        stored = [(name, os.dup(fd)) for name, fd in self.store]
        self.main = main = SupervisorProcess(self.machine, reporter, stored)
        self._notify = SimulatedNotifySocket(ours, main.process.pid)
        self._loop.add_reader(ours.fileno(), self._read)
        self._pidfd = main.process.copy_of_pidfd()
        self._loop.add_reader(self._pidfd, self._ended)
        self._expect(START_TIMEOUT)

    def _expect(self, seconds: float) -> None:
        """Kill the main process if what is under way takes longer."""
        if self._deadline is not None:
            self._deadline.cancel()
        main = self.main
        assert main is not None
        self._deadline = self._loop.call_later(seconds, self._expired, main)

    def _expired(self, main: SupervisorProcess) -> None:
        if main is self.main:
            self.machine.kernel.log(f"systemd: timeout in {self.state}")
            main.process.send(signal.SIGKILL)

    def _begin_end(self, job: str) -> None:
        if self.state in ("inactive", "deactivating") or self.job:
            if job == "restart" and self.state == "deactivating":
                self.job = job
            elif job == "stop" and self.job == "restart":
                self.job = job  # of what leaves already
                self.machine.held.update(map(client_of, self._waiting()))
            elif job == "restart" and self.state == "inactive":
                self._start()
            return
        main = self.main
        self.job = job
        if job == "stop" and (main is None or not main.serves):
            self.machine.held.update(map(client_of, self._waiting()))
        if main is None:  # a pause before an automatic restart
            if job == "stop":
                self._become_inactive()
            return
        if self.state == "active" and job == "restart":
            main.process.send(signal.SIGURG)  # ExecStop= of the unit
        self.state = "deactivating"
        main.process.send(signal.SIGTERM)
        self._expect(STOP_TIMEOUT)

    def _waiting(self) -> list[int]:
        """Return the connections that wait for a worker: when the service is stopped, nobody has them."""
        stored = [fd for name, fd in self.store if name == CONNECTION]
        supervisor = None if self.main is None else self.main.supervisor
        return stored if supervisor is None else [*stored, *supervisor._exchange.unassigned]

    def _read_all(self) -> bool:
        if self.process.stopped or self._notify is None:
            return False
        self.process.run(self._read)
        return True

    def _read(self) -> None:
        while self._notify is not None and (found := self._notify.receive()) is not None:
            self._heed(found)

    def _heed(self, found: Notification) -> None:
        said = found.assignments
        if said.get("FDSTORE") == "1":
            self._keep(said["FDNAME"], found.stored)
        if said.get("FDSTOREREMOVE") == "1":
            self._forget(said["FDNAME"])
        if "READY" in said:
            self.told.append("READY")
            if self.state in ("activating", "active"):
                self.state = "active"
                if self._deadline is not None:
                    self._deadline.cancel()
        if "RELOADING" in said:
            self.told.append("RELOADING")
        if "STOPPING" in said:
            self.told.append("STOPPING")
            if self.state in ("activating", "active"):
                self.state = "deactivating"
                self._expect(STOP_TIMEOUT)
        if "EXTEND_TIMEOUT_USEC" in said and self.state != "active":
            self._expect(max(int(said["EXTEND_TIMEOUT_USEC"]) / 1e6, 1.0) + 10)

    def _keep(self, name: str, descriptors: tuple[int, ...]) -> None:
        there = {os.fstat(fd).st_ino for _, fd in self.store}
        for fd in descriptors:
            full = len(self.store) >= self._storage
            if not full and (os.fstat(fd).st_ino not in there or name != CONNECTION):
                self.store.append((name, fd))
                continue
            if full and name == CONNECTION:
                self.machine.held.add(client_of(fd))
            os.close(fd)

    def _forget(self, name: str) -> None:
        for each in [each for each in self.store if each[0] == name]:
            self.store.remove(each)
            os.close(each[1])

    def _ended(self) -> None:
        self._read()
        main, notify = self.main, self._notify
        assert main is not None
        assert notify is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._loop.remove_reader(notify.fileno())
        notify.close()
        self._notify = self.main = None
        if self._deadline is not None:
            self._deadline.cancel()
        code, job = main.process.code, self.job
        if not job and self.state == "active" and not main.process.harmed:
            self.astonished.append(f"{main.process.name} has ended by itself: {code}")
        if job == "restart":
            self._start()
        elif job == "stop" or (code == 0 and self.state == "deactivating"):
            self._become_inactive()
        else:  # Restart=on-failure, and on-success for a clean end that nobody asked for
            self.state = "auto-restart"
            self._loop.call_later(RESTART_PAUSE, self._restart_by_itself)

    def _restart_by_itself(self) -> None:
        if self.state == "auto-restart":
            self._start()

    def _become_inactive(self) -> None:
        """Close the store, and wait for a connection: the socket unit is still active."""
        self.state, self.job = "inactive", ""
        for name, fd in self.store:
            if name == CONNECTION:
                self.machine.closed[client_of(fd)] = self._loop.time()
            os.close(fd)
        self.store.clear()
        self._loop.add_reader(self.machine.listener.fileno(), self._activate)

    def _activate(self) -> None:
        if self.state == "inactive":
            self._start()

    def close(self) -> None:
        """End: nobody is left."""
        while self.store:
            os.close(self.store.pop()[1])


def listening() -> socket.socket:
    """Return a listening socket with a name that the kernel chose."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")
    listener.listen(512)
    listener.setblocking(False)
    return listener
