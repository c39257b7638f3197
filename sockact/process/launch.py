"""The process of sockact that runs here, from its first line to its last: signals, sockets, its manager.

It speaks sd_listen_fds(3) and sd_notify(3) to whoever started it: systemd, a supervisor, or nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from sockact import runtime
from sockact.config import logs, pyproject, settings
from sockact.config.records import RecordKind, about
from sockact.config.settings import Settings
from sockact.errors import ReloadRefused, SockactError, similar
from sockact.handover.store import Store
from sockact.lifecycle.conductor import Conductor
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.lifecycle.end_signals import IMPATIENCE, SECOND_SIGINT, EndSignals
from sockact.lifecycle.reloads import Reloads
from sockact.lifecycle.service import Callbacks, Ending, Service
from sockact.process import event_loop, green_threads, import_path, open_descriptors
from sockact.process.app_metrics import VARIABLE, AppMetrics
from sockact.process.command import Program
from sockact.process.descriptors import Sockets
from sockact.process.ending import Exit, flush
from sockact.process.identity import ProcessIdentity
from sockact.process.ledger import StatisticsLedger
from sockact.process.offered_sockets import opened
from sockact.process.orphans import Inherited, children
from sockact.process.pidfile import PidFile
from sockact.process.unapplied import StartSnapshot
from sockact.protocols import control_address
from sockact.protocols.control import Caller, ControlServer
from sockact.protocols.environment import ACTIVATED, CHILDREN, UNIT
from sockact.protocols.template_messages import ForkRequest
from sockact.protocols.worker_messages import Reporter
from sockact.sockets import fds, listen
from sockact.sockets.fds import METRICS, Listener
from sockact.system import exec_state, fault_handler, forks, private_folder, signals, standard_streams
from sockact.system.signals import EarlySignals
from sockact.systemd import activation
from sockact.untrusted.text import told

logger = logging.getLogger(__package__)


def live(run: Callable[[Process, Settings], None], given: Mapping[str, Any]) -> None:
    """Run a process of sockact: take over what was passed, resolve the settings, and report failures.

    Args:
        run: takes the role of the process.
        given: settings, beside those in the environment.

    Raises:
        SystemExit: it failed; the reason is in the log and in the status, the code is that of
            `SockactError.exit_status`.
    """
    process = Process(given)
    import_path.pin()
    try:
        chosen = process.configure()
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

    Args:
        given: settings, beside those in the environment.

    Attributes:
        trial, supervised, template, own, generation, worker: as in `ProcessIdentity`.
        activated: whether sockets were passed to the service.
        early: the signals until the event loop handles them.
        sockets: its descriptors.
        notifier: the notifier.
        program: its own program, to be run again.
        beginning: the settings and unit files with which the main process was started.
        exit: its end, once that has begun.
        end_timeout: the seconds that its end may take.
        ledger: the statistics of the service; None in a worker or a trial.
        app_metrics: the app's own metrics; None if nobody asks for them.
        listen_given: whether a setting names the addresses for the case that no socket is passed.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self.exit = Exit()
        self.end_timeout = Settings().shutdown_timeout
        self.listen_given = False
        self.ledger: StatisticsLedger | None = None
        self.app_metrics: AppMetrics | None = None
        self._reported = False
        self.early = EarlySignals()
        self.sockets = Sockets.adopted()
        standard_streams.secure()
        # The watchdog's SIGABRT then shows where every thread hangs.
        self._shows_faults = fault_handler.enable(standard_streams.descriptor())
        self._identity = identity = ProcessIdentity.taken_from(os.environ)
        self.trial, self.supervised, self.own = identity.trial, identity.supervised, identity.own
        self.template = identity.template
        self.generation, self.worker = identity.generation, identity.worker
        if self.sockets.connections:
            signals.remember_term()
        passed = bool(self.sockets.listeners)
        self.activated = passed if identity.activated is None else identity.activated
        self.notifier = Reporter()
        self.beginning = StartSnapshot(os.environ)
        os.environ.pop(UNIT, None)
        environ = {**os.environ, ACTIVATED: f"{self.activated:d}", UNIT: self.beginning.note}
        self.program = Program.of_this_process(environ)
        self._pid_file: PidFile | None = None
        forks.begin(self.private, self._forget_in_fork)

    def configure(self) -> Settings:
        """Return the settings, and log as they say; raises SettingsError."""
        logs.configure("info", os.environ)  # for an error in the settings
        chosen = self.resolve()
        logs.configure(chosen.log_level, os.environ, chosen.log_format)
        self.end_timeout = chosen.shutdown_timeout
        self.listen_given = pyproject.says("listen", self._given, os.environ)
        for name in settings.misspelt(os.environ):
            question = similar(name, map(settings.variable, settings.FIELDS))
            logger.warning("%s is no setting: ignored%s", name, question)
        return chosen

    def resolve(self) -> Settings:
        """Return the settings as they are by now; raises SettingsError."""
        return pyproject.resolve(self._given, os.environ)

    def serves_itself(self, chosen: Settings) -> bool:
        """Return whether the app is served by this process; otherwise by workers."""
        return self.trial or self.supervised or not chosen.workers or self.sockets.connected

    def offer(self, sock: Any) -> None:
        """Use the program's own sockets, if none were passed.

        Args:
            sock: as for `opened`.

        Raises:
            UsageError, UnavailableError, AppError: as `opened`.
            ActivationError, UnavailableError: as `Sockets.check`.
        """
        if self.trial or self.supervised or self.sockets.listeners:
            return
        self.sockets.check(told=True)
        for each in opened(sock):
            self.sockets.listeners.append(Listener.of(each, listen.DEFAULT_NAME))
        if not callable(sock):
            obstacle = "the program has opened its socket itself, and would do so again"
            self.program = self.program._replace(argv=(), obstacle=obstacle)

    def complete(self, chosen: Settings) -> None:
        """Bind the sockets that were not passed, by `Sockets.complete`, and write the PID file.

        Workers have no control socket and no PID file: these are their supervisor's. Processes of one
        connection each have no PID file: there are several.
        """
        self.sockets.complete(chosen, controlled=not self.supervised, told=self.listen_given)
        if not self.supervised:
            self._warn()
        if chosen.pid_file and not (self.supervised or self.sockets.connected):
            self._pid_file = PidFile(chosen.pid_file)

    def _warn(self) -> None:
        """Log the faults of the unit that can be seen; they do not keep the app from being served."""
        for line in activation.fleeting(self.sockets.listeners if self.activated else (), os.environ):
            logger.warning("%s", line)
        if reason := activation.unheard(os.environ, self.notifier.variables.get("NOTIFY_SOCKET", "")):
            logger.warning("%s", reason)

    def conductor(self, chosen: Settings) -> Conductor:
        """Return a conductor, which takes over the callers that were passed to this process."""
        callers, self.sockets.callers = self.sockets.callers, []
        successor = self.generation > 1
        if self.supervised:
            return Conductor(self.notifier, chosen, Reloads(callers, successor=successor))
        reloads = Reloads(callers, successor=successor, unapplied=self._identity.unapplied)
        end_signals = EndSignals({**SECOND_SIGINT, signal.SIGTERM: IMPATIENCE})
        return Conductor(self.notifier, chosen, reloads, end_signals)

    def open_ledger(self) -> StatisticsLedger:
        """Go on with the statistics of the process before this one; they are this process's from now on."""
        past, single = self.sockets.taken_ledger(), self.sockets.connected
        self.ledger = StatisticsLedger(self.notifier, past, single=single)
        return self.ledger

    def open_app_metrics(self) -> dict[str, str]:
        """Collect the app's own metrics, if there is a listener named `metrics`; needs the ledger.

        Returns the variables that a process of the app needs before it imports prometheus-client.
        """
        if self.ledger is None or not self.sockets.named(METRICS):
            return {}
        self.app_metrics = AppMetrics.prepared(self.program.environ, anew=self.ledger.anew)
        if self.app_metrics is None:
            return {}
        self.app_metrics.recover()
        return {VARIABLE: self.app_metrics.folder}

    def overview(self, conductor: Conductor) -> dict[str, Any]:
        """Return the overview of this service; see `sockact.protocols.overview`."""
        found = {**conductor.overview(), "sockets": self.sockets.overview()}
        return found if self.ledger is None else {**found, "statistics": self.ledger.overview()}

    def unapplied(self, environ: Mapping[str, str] | None) -> Sequence[str]:
        """Return the changes that a reload of this process did not apply; see `StartSnapshot.changed`."""
        return () if self.supervised else self.beginning.changed(environ)

    async def conduct(self, conductor: Conductor, service: Service, callbacks: Callbacks) -> Ending:
        """Run a service by its conductor, and answer the control socket meanwhile."""
        control = self.sockets.control
        with contextlib.ExitStack() as servers:
            servers.callback(Inherited(self._identity.children).close)
            if control is not None and control.sock is not None:
                server = ControlServer(
                    control.sock,
                    conductor,
                    lambda: self.overview(conductor),
                )
                servers.callback(server.close)
            ending = await conductor.run(service, self.early, callbacks)
            if ending.replaced and self.sockets.connections:
                signals.remember_term()  # not to die before they are passed on
            return ending

    def become(
        self, argv: Sequence[str], environ: Mapping[str, str], callers: Sequence[Caller]
    ) -> NoReturn:
        """Execute another program in this process, and pass on all that was passed to it, and `callers`."""
        if self.ledger is not None:
            self.sockets.ledger = self.ledger.passed_on()
        held = [*signals.REMEMBERED, *([signal.SIGTERM] if self.sockets.connections else [])]
        signals.hold(held)
        exec_state.BEFORE.restore(blocked=held)
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
        """Run the app's code in the body; raises AppError if that closes descriptors of this process."""
        try:
            with open_descriptors.kept_open([*self.private(), standard_streams.descriptor()]):
                yield
        finally:
            standard_streams.fill()

    def begin_end(self) -> None:
        """Bound the end of this process, which serves no more: that of the loop, and that of Python."""
        self.exit.begin(self.end_timeout)
        if self.supervised:
            self.notifier.ending()
        elif not self._reported:  # a stop or a reload, for which the manager waits
            self.notifier.extend(self.end_timeout + KILL_MARGIN)

    def report(self, error: SockactError) -> None:
        """Report the reason for this process's end, once: to the log, the manager and the callers."""
        if self._reported:
            return
        self._reported = True
        self.exit.status = error.exit_status
        text = event_loop.advised(str(error))
        facts = about(RecordKind.START_FAILED)
        if error.logged:
            text_of_log = "not started, exit status %d: a worker has logged the reason"
            logger.error(text_of_log, error.exit_status, extra=facts)
        else:
            cause = error.__cause__ if error.exit_status == 1 else None
            logger.error("%s", text, exc_info=cause, extra=facts)
        self.notifier.failing(text)
        Store(self.notifier).put(self.sockets.kept())  # systemd tries again, soon
        for caller in self.sockets.callers:
            caller.answer(False, f"the new code failed to start: {text}")
        self.forget()

    def fail(self, error: SockactError) -> NoReturn:
        """Report an error, and end with its exit status."""
        self.report(error)
        self.begin_end()
        self.notifier.flush()
        self._go_on()
        raise SystemExit(error.exit_status)

    def close(self) -> None:
        """Release everything, for a program that goes on."""
        self.forget()
        self.sockets.close()
        self.early.restore()
        forks.end()
        self._go_on()

    def leave(self, status: int) -> NoReturn:
        """End now, without waiting for threads or tasks."""
        self.forget()
        self.notifier.flush()
        flush()
        os._exit(status)

    def _go_on(self) -> None:
        """Allow a program any time to go on, unless another process waits for its end."""
        self.exit.begin(self.end_timeout)
        if self.supervised or self.trial:
            self.exit.go_on()
        else:
            self.exit.pause()

    def become_worker(self, request: ForkRequest, descriptors: Sequence[int]) -> None:
        """Make a process that a template has forked a worker, as if it had been started as one."""
        self.template = False
        self.worker = request.worker
        self.exit = Exit()
        self.sockets.become_worker(map(fds.describe, descriptors, request.names))
        os.environ["NOTIFY_SOCKET"] = request.address
        if request.watchdog:
            os.environ["WATCHDOG_USEC"] = str(request.watchdog)
        self.notifier.close()
        self.notifier = Reporter()
        forks.begin(self.private, self._forget_in_fork)

    def private(self) -> list[int]:
        """Return the descriptors that processes made by the app must not keep."""
        return [*self.sockets.descriptors(), self.notifier.fileno(), private_folder.OWN.fileno()]

    def _forget_in_fork(self) -> None:
        """Reset what the app has forked: it is no process of sockact."""
        runtime.forget()
        if self._shows_faults:
            fault_handler.disable()

    def forget(self) -> None:
        """Remove the PID file, and the folder of this process's sockets."""
        control_address.close()
        if self._pid_file is not None:
            self._pid_file.remove()
