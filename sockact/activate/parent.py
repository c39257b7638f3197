"""The parent: starts the program, hears it, and starts it again. These are its signals.

    SIGTERM, SIGINT, SIGQUIT    passed on; the parent ends when the program has ended, with its status
    SIGUSR1                     restart: SIGURG and SIGTERM to the program, and a new start
    SIGHUP, SIGUSR2             passed on: the program's own reload; a SIGHUP since the terminal has been
                                closed is a SIGTERM

A restart sends SIGURG first, as units/app.service does, so that a program that stores its connections knows
that it has a successor. By default SIGURG does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Collection, Sequence

from sockact.activate.messages import Messages
from sockact.activate.plan import ActivationPlan, RestartPolicy
from sockact.activate.program import ActivatedProgram
from sockact.activate.restarts import Restarts
from sockact.activate.store import DescriptorStore
from sockact.activate.watch import summary
from sockact.errors import UnavailableError
from sockact.process.child import in_words
from sockact.process.orphans import Orphans
from sockact.protocols.notify import Notification, NotifySocket
from sockact.protocols.notify.wire import VARIABLES
from sockact.sockets.fds import Listener
from sockact.system import private_folder
from sockact.system.signals import FOLLOWED
from sockact.system.subreaper import become_subreaper
from sockact.untrusted.number import decimal

ANNOUNCEMENT = 0.1
"""Seconds from SIGURG to SIGTERM: of two signals that wait, a process handles the one of the lower number
first. In a unit it is the time that systemd takes to notice that ExecStop= has ended."""

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (signal.SIGHUP, signal.SIGUSR2)
RESTART = signal.SIGUSR1


class Asked(enum.Enum):
    """The request that a program's end follows."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"
    STOP = "stop"


class ActivatingParent:
    """A service manager for one program, without systemd.

    Args:
        plan: the program.
        listeners: the sockets to pass, which this process owns; the file of a Unix socket is removed at the
            end.
        report: takes a line about each event.
    """

    def __init__(
        self, plan: ActivationPlan, listeners: Sequence[Listener], report: Callable[[str], None]
    ) -> None:
        self._plan, self._listeners, self._report = plan, listeners, report
        self._store = DescriptorStore(plan.stores)
        self._notify = NotifySocket(private_folder.OWN.new("notify"), stores=True)
        self._messages = Messages()
        self._restarts = Restarts()
        self._asked = Asked.NOTHING
        self._wake = asyncio.Event()
        self._program: ActivatedProgram | None = None
        self._ended: ActivatedProgram | None = None
        self._unreaped: Collection[int] = ()
        self._failure: BaseException | None = None
        self._in_terminal = has_terminal()

    async def run(self) -> int:
        """Keep the program until it is over, and return its exit status, 128 and the signal for a signal.

        Raises:
            UnavailableError: no process can be started, or files cannot be watched.
        """
        become_subreaper()
        with contextlib.ExitStack() as opened:
            self._open(opened)
            if self._plan.watch is not None:
                watching = asyncio.ensure_future(self._plan.watch.run(self._changed))
                watching.add_done_callback(self._unwatched)
                opened.callback(watching.cancel)
            code = await self._keep()
        if self._failure is not None:
            raise self._failure
        return 128 - code if code is not None and code < 0 else code or 0

    def _open(self, opened: contextlib.ExitStack) -> None:
        loop = asyncio.get_running_loop()
        opened.callback(private_folder.OWN.remove)
        opened.enter_context(self._notify)
        opened.callback(self._store.close)
        for listener in self._listeners:
            if path := _path(listener):
                opened.callback(_unlink, path, os.stat(path))
            opened.callback(listener.close)
        loop.add_reader(self._notify.fileno(), self._listen)
        opened.callback(loop.remove_reader, self._notify.fileno())
        loop.add_reader(self._store.fileno(), self._drop_hung_up)
        opened.callback(loop.remove_reader, self._store.fileno())
        for number in ENDING:
            loop.add_signal_handler(number, self._stop, number)
        for number in PASSED_ON:
            loop.add_signal_handler(number, self._pass_on, number)
        loop.add_signal_handler(RESTART, self._restart, RESTART.name)
        Orphans(lambda: self._unreaped, subreaper=True)

    async def _keep(self) -> int | None:
        """Run the program again and again; return the exit code of its last end."""
        while True:
            began = time.monotonic()
            code = await self._run_once()
            if self._asked is Asked.NOTHING:
                await self._pause(time.monotonic() - began)
            if self._asked in (Asked.NOTHING, Asked.STOP):
                return code
            self._asked = Asked.NOTHING

    async def _run_once(self) -> int | None:
        for listener in self._listeners:
            if listener.sock is not None:
                # The program before may have changed it, for all who share the socket. systemd also does so
                # at each start: NonBlocking= in systemd.exec(5).
                listener.sock.setblocking(True)
        program = self._program = self._start()
        async with contextlib.AsyncExitStack() as ending:
            ending.push_async_callback(program.end)
            code = await program.wait(self._listen)
            self._program = None
        self._listen()
        self._unreaped = ()
        self._report(f"pid {program.pid} {in_words(code)}")
        return code

    def _start(self) -> ActivatedProgram:
        environ = {name: value for name, value in self._plan.environ.items() if name not in VARIABLES}
        environ["NOTIFY_SOCKET"] = self._notify.address
        if self._plan.stores:
            environ["FDSTORE"] = str(self._plan.stores)
        listeners = [*self._listeners, *self._store.listeners]
        try:
            program = ActivatedProgram.start(self._plan.argv, listeners, environ, self._plan.blocked)
        except OSError as error:
            raise UnavailableError(f"{self._plan.argv[0]} cannot be started: {error}") from error
        self._unreaped = {program.group}
        self._messages = Messages()  # the same status of another process is news
        stored = len(self._store.listeners)
        more = f", with {stored} from the store" if stored else ""
        self._report(f"pid {program.pid} started{more}: {shlex.join(self._plan.argv)}")
        return program

    async def _pause(self, lived: float) -> None:
        """Wait for the time of the next start, or for a request."""
        if self._plan.restarts is RestartPolicy.NEVER:
            return
        seconds = self._restarts.pause(lived) if self._plan.restarts is RestartPolicy.ALWAYS else None
        if seconds is not None:
            self._report(f"starts it again {f'in {seconds:g} s' if seconds else 'now'}")
        elif self._plan.watch is not None:
            self._report("starts it again when a file changes")
        else:
            self._report("does not start it again: it has ended soon after its start too often")
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            self._asked = Asked.RESTART

    # Requests.

    def _stop(self, number: signal.Signals) -> None:
        if self._asked is not Asked.STOP:
            self._report(f"{number.name}: stops the program")
        before, self._asked = self._asked, Asked.STOP
        if before is Asked.RESTART and self._program is not None:
            self._program.send(FOLLOWED)  # takes it back
            if self._ended is self._program:
                return  # it drains; another SIGTERM would kill it
        self._end(number)

    def _restart(self, reason: str) -> None:
        if self._asked in (Asked.NOTHING, Asked.RELOAD):
            self._report(f"{reason}: {'starts' if self._program is None else 'restarts'} the program")
            self._asked = Asked.RESTART
            self._restarts.forget()
            self._wake.set()
            if self._program is not None:
                self._program.send(FOLLOWED)
                asyncio.get_running_loop().call_later(ANNOUNCEMENT, self._end_announced, self._program)

    def _end_announced(self, program: ActivatedProgram) -> None:
        if program is self._program and self._asked is Asked.RESTART:
            self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        """End the program, or the pause before its next start."""
        self._wake.set()
        self._ended = self._program
        if self._program is not None:
            self._program.send(number)
            if self._plan.stop_timeout is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(self._plan.stop_timeout, self._kill, self._program)

    def _kill(self, program: ActivatedProgram) -> None:
        if program is self._program:
            self._report(f"pid {program.pid} has not ended in {self._plan.stop_timeout:g} s: SIGKILL")
            program.kill()

    def _pass_on(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and self._in_terminal and not has_terminal():
            self._stop(signal.SIGTERM)
        elif self._program is not None:
            self._report(f"{number.name} to pid {self._program.pid}")
            self._program.send(number)

    def _changed(self, paths: Sequence[str]) -> None:
        reason = f"change of {summary(paths)}"
        if self._plan.reloads and self._program is not None:
            self._report(f"{reason}: reloads the program")
            self._program.send(signal.SIGHUP)
            if self._asked is Asked.NOTHING:
                self._asked = Asked.RELOAD
        else:
            self._restart(reason)

    def _unwatched(self, watching: asyncio.Future[None]) -> None:
        if not watching.cancelled():
            self._failure = watching.exception()
            self._stop(signal.SIGTERM)

    # The program's notifications.

    def _listen(self) -> None:
        while (message := self._notify.receive()) is not None:
            self._hear(message)

    def _hear(self, message: Notification) -> None:
        if message.assignments.get("READY") == "1" and self._asked is Asked.RELOAD:
            self._asked = Asked.NOTHING  # else an end is that of a start which came before the change
        stored = self._store.hear(message)
        if self._plan.talks:
            for line in (self._messages.new(message.assignments), stored):
                if line:
                    self._report(f"pid {message.pid} {line}")
        main = decimal(message.assignments.get("MAINPID"), digits=9)
        if main is not None and self._program is not None and main != self._program.pid:
            if self._program.follow(main):
                self._unreaped = {self._program.group, main}
            else:
                self._report(f"MAINPID={main} is ignored: no process of the program")

    def _drop_hung_up(self) -> None:
        if dropped := self._store.drop_hung_up():
            self._report(f"drops {dropped} stored descriptors: nothing is at their other end any more")


def _path(listener: Listener) -> str:
    """Return the path of a Unix socket; '' for other sockets."""
    if listener.sock is None or listener.sock.family != socket.AF_UNIX:
        return ""
    return "" if listener.address.startswith("@") else listener.address


def _unlink(path: str, bound: os.stat_result) -> None:
    """Remove the file of a socket, unless another one has replaced it."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), bound):
            os.unlink(path)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal. Source: tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
