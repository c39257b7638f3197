"""What every process of sockact holds from its first line to its last: signals, sockets, its manager.

It speaks sd_listen_fds(3) and sd_notify(3) to whoever started it: systemd, a supervisor, or nobody.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from sockact.config import logs, pyproject, settings
from sockact.config.settings import Settings
from sockact.errors import AppError, ReloadRefused, SockactError, UnavailableError, UsageError
from sockact.handover.store import Store
from sockact.lifecycle.conductor import IMPATIENCE, Conductor, Ending, Service
from sockact.process import event_loop, green_threads, import_path, open_descriptors
from sockact.process.command import Program
from sockact.process.descriptors import Sockets
from sockact.process.ending import Exit, flush
from sockact.process.orphans import Inherited, children
from sockact.process.pidfile import PidFile
from sockact.process.unapplied import Beginning
from sockact.protocols import control_address
from sockact.protocols.assignments import Reporter
from sockact.protocols.control import Caller, ControlServer
from sockact.protocols.environment import (
    ACTIVATED,
    CHILDREN,
    GENERATION,
    OWN,
    REMARK,
    SUPERVISED,
    TRIAL,
    UNIT,
)
from sockact.runtime import HERE
from sockact.sockets import fds, listen
from sockact.sockets.fds import Listener
from sockact.system import exec_state, forks, private_folder, signals, standard_streams
from sockact.system.signals import EarlySignals
from sockact.systemd import activation
from sockact.untrusted.text import told

MARGIN = 5.0
"""Seconds beyond a limit of ours until we end what should have ended itself, and have said why."""

logger = logging.getLogger(__package__)


def live(run: Callable[[Process, Settings], None], given: Mapping[str, Any]) -> None:
    """Be a process of sockact: take over what was passed, settle the settings, and report what fails.

    Args:
        run: what the process is for.
        given: settings, beside those in the environment.

    Raises:
        SystemExit: it failed; the reason is in the log and in the status, the code is that of
            `SockactError.exit_status`.
    """
    process = Process()
    import_path.pin()
    try:
        logs.configure("info", os.environ)  # for what is wrong with the settings
        chosen = pyproject.resolve(given, os.environ)
        logs.configure(chosen.log_level, os.environ)
        process.end_timeout = chosen.shutdown_timeout
        process.resolve = lambda: pyproject.resolve(given, os.environ)
        process.told = pyproject.says("listen", given, os.environ)
        for name in settings.misspelt(os.environ):
            logger.warning("%s is no setting: ignored", name)
        green_threads.refuse()
        with forks.only_here():
            run(process, chosen)
    except SockactError as error:
        process.fail(error)
    except Exception as error:
        # Not left to `sys.excepthook` and `sys.stderr`, which may be the app's.
        logger.exception("a fault of sockact")
        process.fail(SockactError(told(error)))


class Process:
    """This process; there is one.

    Attributes:
        trial: whether it is a canary, which starts the app and does not serve it.
        supervised: whether it is a worker of a supervisor.
        own: whether the program that it supervises has called `sockact.serve`.
        activated: whether sockets were passed to the service.
        exit: its end, once that has begun.
        end_timeout: how long that may take.
        told: whether it was said where to listen, if nothing is passed.
        resolve: settles the settings anew, as they are by now.
        remark: what the reload that has started it did not take over.
        beginning: what the main process was started with.
    """

    def __init__(self) -> None:
        self.exit = Exit()
        self.end_timeout = Settings().shutdown_timeout
        self._reported = False
        self.early = EarlySignals()
        self.sockets = Sockets.adopted()
        standard_streams.secure()
        self._shows_faults = not faulthandler.is_enabled()
        # The watchdog's SIGABRT then shows where every thread hangs.
        faulthandler.enable(file=standard_streams.descriptor())
        self.trial = os.environ.pop(TRIAL, None) is not None
        self.supervised = os.environ.pop(SUPERVISED, None) is not None
        self.own = os.environ.pop(OWN, None) is not None
        generation = os.environ.pop(GENERATION, "")
        self.generation = int(generation) if generation.isdecimal() else 1
        inherited = os.environ.pop(CHILDREN, "").split(",")
        self._inherited = [int(pid) for pid in inherited if pid.isdecimal()]
        self.notifier = Reporter()
        told = os.environ.pop(ACTIVATED, "")
        self.activated = told == "1" if told else bool(self.sockets.listeners)
        self.remark = os.environ.pop(REMARK, "")
        self.beginning = Beginning(os.environ)
        os.environ.pop(UNIT, None)
        environ = {**os.environ, ACTIVATED: f"{self.activated:d}", UNIT: self.beginning.note}
        self.program = Program.of_this_process(environ)
        self.told = False
        self.resolve: Callable[[], Settings] = Settings
        self._pid_file: PidFile | None = None
        forks.begin(self._private, self._become_a_stranger)

    def serves_itself(self, chosen: Settings) -> bool:
        """Tell whether the app belongs into this process; otherwise into workers."""
        return self.trial or self.supervised or not chosen.workers or self.sockets.connected

    def offer(self, sock: Any) -> None:
        """Listen where the program says, if nothing was passed.

        Args:
            sock: a socket, a list of sockets, or a function that opens them, as `sockact.serve` has it.

        Raises:
            UsageError: it is none of these.
            UnavailableError, AppError: the function has failed.
            ActivationError, UnavailableError: as `Sockets.check`.
        """
        if self.trial or self.supervised or self.sockets.listeners:
            return
        self.sockets.check(told=True)
        for each in _opened(sock):
            self.sockets.listeners.append(Listener.of(each, listen.NAME))
        if not callable(sock):
            obstacle = "the program has opened its socket itself, and would do so again"
            self.program = replace(self.program, argv=(), obstacle=obstacle)

    def complete(self, chosen: Settings) -> None:
        """Bind what was not passed, by `Sockets.complete`, and say who is the main process.

        The control socket and the PID file of workers are their supervisor's. Processes of one connection
        each have no PID file: there are several.
        """
        self.sockets.complete(chosen, controlled=not self.supervised, told=self.told)
        if not self.supervised:
            self._warn()
        if chosen.pid_file and not (self.supervised or self.sockets.connected):
            self._pid_file = PidFile(chosen.pid_file)

    def _warn(self) -> None:
        """Say what is wrong with the unit, as far as it can be seen, and serve all the same."""
        for line in activation.fleeting(self.sockets.listeners if self.activated else (), os.environ):
            logger.warning("%s", line)
        if reason := activation.unheard(os.environ, self.notifier.variables.get("NOTIFY_SOCKET", "")):
            logger.warning("%s", reason)

    def conductor(self, chosen: Settings) -> Conductor:
        """Return who leads a service here, and tells callers that were passed to it how that went."""
        callers, self.sockets.callers = self.sockets.callers, []
        successor = self.generation > 1
        twice = {signal.SIGINT: 0.0} | ({} if self.supervised else {signal.SIGTERM: IMPATIENCE})
        conductor = Conductor(self.notifier, chosen, callers, successor=successor, twice=twice)
        if not self.supervised:
            conductor.remark, self.remark = self.remark, ""
            conductor.overlooked = self.beginning.changed
        return conductor

    async def conduct(self, conductor: Conductor, service: Service) -> Ending:
        """Let `conductor` lead `service` through its life, and obey the control socket meanwhile."""
        control = self.sockets.control
        with contextlib.ExitStack() as servers:
            servers.callback(Inherited(self._inherited).close)
            if control is not None and control.sock is not None:
                server = ControlServer(
                    control.sock,
                    conductor.request_reload,
                    lambda: {**conductor.overview(), "sockets": self.sockets.overview()},
                )
                servers.callback(server.close)
            return await conductor.run(service, self.early)

    def become(
        self, argv: Sequence[str], environ: Mapping[str, str], callers: Sequence[Caller]
    ) -> NoReturn:
        """Execute another program in this process, with all that was passed to it, and who waits."""
        exec_state.BEFORE.restore(blocked=signals.REMEMBERED)
        self.notifier.flush()
        flush()
        try:
            os.chdir(self.program.directory)
            environ = {**environ, **self.notifier.variables, CHILDREN: ",".join(map(str, children()))}
            standard_streams.restore()
            fds.replace(argv, self.sockets.passed_on(callers), environ)
        except OSError as error:
            self.sockets.callers = list(callers)
            self.fail(ReloadRefused(f"{argv[0]} cannot be executed: {error}"))

    @contextlib.contextmanager
    def intact(self) -> Iterator[None]:
        """Let the app's code run; raises AppError if it closes what this process needs."""
        try:
            with open_descriptors.kept_open([*self._private(), standard_streams.descriptor()]):
                yield
        finally:
            standard_streams.fill()

    def begin_end(self) -> None:
        """Bound the rest of this process's life, as it serves no more: the loop's end, and Python's."""
        self.exit.begin(self.end_timeout)
        if self.supervised:
            self.notifier.ending()
        elif not self._reported:  # a stop or a reload, for which the manager waits
            self.notifier.extend(self.end_timeout + MARGIN)

    def report(self, error: SockactError) -> None:
        """Say why this process ends, everywhere where somebody may look; once."""
        if self._reported:
            return
        self._reported = True
        self.exit.status = error.exit_status
        text = event_loop.advised(str(error))
        logger.error("%s", text, exc_info=error.__cause__ if error.exit_status == 1 else None)
        self.notifier.failing(text)
        Store(self.notifier).put(self.sockets.kept())  # systemd tries again, soon
        for caller in self.sockets.callers:
            caller.answer(False, f"the new code failed to start: {text}")
        self.forget()

    def fail(self, error: SockactError) -> NoReturn:
        """Say why, and end."""
        self.report(error)
        self.begin_end()
        self.notifier.flush()
        self._go_on()
        raise SystemExit(error.exit_status)

    def close(self) -> None:
        """Give everything up, for a program that goes on."""
        self.forget()
        self.sockets.close()
        self.early.restore()
        forks.end()
        self._go_on()

    def leave(self, status: int) -> NoReturn:
        """End at once, without waiting for threads or tasks."""
        self.forget()
        self.notifier.flush()
        flush()
        os._exit(status)

    def _go_on(self) -> None:
        """Let a program go on for as long as it likes, unless another process waits for its end."""
        self.exit.begin(self.end_timeout)
        if self.supervised or self.trial:
            self.exit.go_on()
        else:
            self.exit.pause()

    def _private(self) -> list[int]:
        """Return the descriptors that no process may keep which the app makes."""
        return [*self.sockets.descriptors(), self.notifier.fileno(), private_folder.OWN.fileno()]

    def _become_a_stranger(self) -> None:
        """Be no process of sockact, in one that the app has forked."""
        HERE.forget()
        if self._shows_faults:
            faulthandler.disable()

    def forget(self) -> None:
        """Remove the PID file, and the folder of this process's sockets."""
        control_address.close()
        if self._pid_file is not None:
            self._pid_file.remove()


def _opened(sock: Any) -> Sequence[socket.socket]:
    """Return the sockets that the program has opened, or opens now."""
    try:
        found = sock() if callable(sock) else sock
    except OSError as error:
        raise UnavailableError(f"sock={sock!r}: {error}") from error
    except Exception as error:
        raise AppError(f"sock={sock!r} failed: {told(error)}") from error
    opened = list(found) if isinstance(found, list | tuple) else [found]
    if not opened or not all(isinstance(each, socket.socket) and each.fileno() >= 0 for each in opened):
        raise UsageError(f"sock={found!r}: expected an open socket, several in a list, or what opens them")
    return opened
