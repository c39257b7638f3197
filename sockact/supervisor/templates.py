"""The templates: for each generation that may get workers, a process that imports the app and forks them.

A template is started with the first worker of its generation, and killed when the generation gets no more
and has none left: the import may have started processes that these need. One that ends by itself is started
again at once, if it has lived for a while; else with the next worker. That of workers which outlive this
process does so, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sockact.process.child import Child
from sockact.process.child_handle import ChildHandle, ChildSockets
from sockact.process.parent_death import LIFELINE
from sockact.process.process_group import TERM_TIMEOUT
from sockact.protocols.notify import Notification
from sockact.protocols.template_messages import MESSAGE_LIMIT, ForkAnswer, ForkRequest
from sockact.protocols.worker_messages import WorkerMessage
from sockact.sockets.fds import Listener
from sockact.supervisor.fleet.backoff import YOUNG
from sockact.supervisor.fleet.orders import Spawn
from sockact.untrusted import ancillary

logger = logging.getLogger(__package__)


class TemplateEvents(NamedTuple):
    """The callbacks for what templates do.

    Attributes:
        on_forked: called with a worker and the handle of its process.
        on_failed: called with the number of a worker that there is no process for, and the reason.
        on_extension: called with a generation that needs more time for its start, and the seconds.
        on_end: called with the process of a template, when that has ended.
        on_idle: called when no worker is being forked any more.
    """

    on_forked: Callable[[Spawn, ChildHandle], None]
    on_failed: Callable[[int, str], None]
    on_extension: Callable[[int, float], None]
    on_end: Callable[[Child], None]
    on_idle: Callable[[], None]


class WantedWorker(NamedTuple):
    """A worker that is to be forked.

    Attributes:
        spawn: the fleet's decision.
        watchdog: microseconds between two of its watchdog pings, at most; 0 for no watchdog.
        sockets: its notify socket and its lifeline.
        supply: its end of its supply, and the load board, as far as there are these.
    """

    spawn: Spawn
    watchdog: int
    sockets: ChildSockets
    supply: Sequence[Listener]

    def request_from(self, template: socket.socket) -> None:
        """Ask a template for it; raises OSError if that is not there any more."""
        passed = [Listener.of(self.sockets.theirs, LIFELINE), *self.supply]
        names = tuple(each.name for each in passed)
        request = ForkRequest(self.spawn.worker, self.watchdog, names, self.sockets.address)
        socket.send_fds(template, [bytes(request)], [each.fd for each in passed])

    def close(self) -> None:
        """Close its sockets, but for those that its handle has."""
        self.sockets.close()
        for each in self.supply:
            each.close()


class TemplateLink:
    """The supervisor's link to one template.

    Args:
        generation: its generation.
        handle: its process.
        requests: our end of the socket on which it gets requests.
        ours: returns the processes that are known to be workers.
        events: the callbacks.
        ended: called with this link and how the template has ended, in words.
    """

    def __init__(
        self,
        generation: int,
        handle: ChildHandle,
        requests: socket.socket,
        ours: Callable[[], Collection[int]],
        events: TemplateEvents,
        ended: Callable[[TemplateLink, str], None],
    ) -> None:
        self.generation = generation
        self.child = Child(handle, heard=self._heard, ended=lambda how: ended(self, how))
        self._requests = requests
        self._ours, self._events = ours, events
        self._waiting: deque[WantedWorker] = deque()
        self._asked: WantedWorker | None = None
        self._ready_since: float | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        requests.setblocking(False)
        self._loop.add_reader(requests.fileno(), self._answered)

    @property
    def forking(self) -> bool:
        """Return whether a worker may exist that nobody here knows of."""
        return self._asked is not None

    @property
    def proven(self) -> bool:
        """Return whether it has been ready for so long that its end is no fault of the app's import."""
        return self._ready_since is not None and self._loop.time() - self._ready_since >= YOUNG

    def add(self, wanted: WantedWorker) -> None:
        """Fork a worker when those before it have been forked."""
        self._waiting.append(wanted)
        self._ask_next()

    def cancel(self, worker: int) -> None:
        """Do not fork a worker that is to end already; if it is being forked, the template goes with it."""
        if self._asked is not None and self._asked.spawn.worker == worker:
            self.kill()
        for wanted in [each for each in self._waiting if each.spawn.worker == worker]:
            self._waiting.remove(wanted)
            wanted.close()
            self._loop.call_soon(self._events.on_failed, worker, "was not started")

    def start_no_more(self) -> None:
        """Fork no more workers; the template closes its listeners, so that nobody waits in their queues."""
        with contextlib.suppress(OSError):  # it has ended
            self._requests.shutdown(socket.SHUT_WR)

    def let_go(self) -> None:
        """Leave a template that has workers to itself; kill another one."""
        if self._ready_since is None or self._asked is not None:
            self.child.kill()
        else:
            self.child.let_go()

    def kill(self) -> None:
        """End it: its end is reported, and that of the workers which wait for it."""
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is not reaped yet
            self.child.send(signal.SIGKILL)

    def close(self, reason: str) -> None:
        """Give up the workers that wait for it, since it has ended."""
        if self._limit is not None:
            self._limit.cancel()
        self._loop.remove_reader(self._requests.fileno())
        ancillary.close_socket(self._requests)
        unborn = [*self._waiting] if self._asked is None else [self._asked, *self._waiting]
        self._asked = None
        self._waiting.clear()
        for wanted in unborn:
            wanted.close()
            self._loop.call_soon(self._events.on_failed, wanted.spawn.worker, reason)

    def _heard(self, notification: Notification) -> None:
        notification.close()
        message = WorkerMessage.from_assignments(notification.assignments)
        if message.extension is not None:
            self._events.on_extension(self.generation, message.extension)
        if message.ready and self._ready_since is None:
            self._ready_since = self._loop.time()
            self._ask_next()

    def _ask_next(self) -> None:
        if self._ready_since is None or self._asked is not None or not self._waiting:
            return
        wanted = self._asked = self._waiting.popleft()
        with contextlib.suppress(OSError):  # it has ended, which is about to be reported
            wanted.request_from(self._requests)

    def _answered(self) -> None:
        try:
            data = ancillary.read(self._requests, MESSAGE_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # it ends, or soon will
            self._loop.remove_reader(self._requests.fileno())
            self._limit = self._loop.call_later(TERM_TIMEOUT, self.kill)
            return
        answer = ForkAnswer.from_bytes(data)
        if answer is None or self._asked is None or answer.worker != self._asked.spawn.worker:
            # The app has broken into it: no worker can come of it.
            self._loop.remove_reader(self._requests.fileno())
            self.kill()
            return
        wanted, self._asked = self._asked, None
        self._settle(wanted, answer)
        wanted.close()
        self._ask_next()
        if self._asked is None:
            self._events.on_idle()

    def _settle(self, wanted: WantedWorker, answer: ForkAnswer) -> None:
        """Take over the process that was forked, or report that there is none."""
        reason = answer.error
        if answer.pid and not self._is_new_child(answer.pid):
            reason = f"pid={answer.pid} is no process that was forked for it"
        elif answer.pid:
            try:
                self._events.on_forked(wanted.spawn, wanted.sockets.handle_of(answer.pid))
                return
            except OSError as error:
                reason = error.strerror or str(error)
        self._events.on_failed(wanted.spawn.worker, f"no process can be started: {reason}")

    def _is_new_child(self, pid: int) -> bool:
        """Return whether a process is a child of this one, and no other worker."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return pid not in self._ours()


class Templates:
    """The templates of all generations.

    Args:
        start: starts the template of a generation, which gets this socket; returns its handle.
        ours: returns the processes that are known to be workers.
        events: the callbacks.
    """

    def __init__(
        self,
        start: Callable[[int, socket.socket], ChildHandle],
        ours: Callable[[], Collection[int]],
        events: TemplateEvents,
    ) -> None:
        self._start = start
        # Another template is a child of this process, too, and no worker.
        self._ours = lambda: {*ours(), *self.pids()}
        self._events = events
        self._links: dict[int, TemplateLink] = {}
        self._kept: Collection[int] = ()
        self._leaving: list[Child] = []  # ended, but not all of its process group

    @property
    def forking(self) -> bool:
        """Return whether a worker may exist that nobody here knows of."""
        return any(link.forking for link in self._links.values())

    def pids(self) -> set[int]:
        """Return the processes that are reaped here."""
        return {child.pid for child in self._children()}

    def fork(self, wanted: WantedWorker) -> None:
        """Fork a worker from the template of its generation, which is started for the first.

        Raises:
            OSError: no template can be started.
            SettingsError: an environment file of the program cannot be used.
        """
        generation = wanted.spawn.generation
        self._kept = {*self._kept, generation}
        (self._links.get(generation) or self._begin(generation)).add(wanted)

    def cancel(self, worker: int) -> None:
        """Do not fork a worker that is to end already; it ends like one that was started."""
        for link in list(self._links.values()):
            link.cancel(worker)

    def keep(self, generations: Collection[int]) -> None:
        """Keep the templates of these generations, and kill the others, of which no worker is left."""
        self._kept = generations
        for generation, link in self._links.items():
            if generation not in generations:
                link.kill()

    def kill(self) -> None:
        """Kill all, and wait for that."""
        for child in self._children():
            child.kill()
        self._links.clear()

    def start_no_more(self) -> None:
        """Fork no more workers."""
        for link in self._links.values():
            link.start_no_more()

    def let_go(self) -> None:
        """Leave all to themselves: they end with their workers, which outlive this process."""
        for link in self._links.values():
            link.let_go()

    async def wait_gone(self) -> None:
        """Wait for the rest of the process groups of ended templates."""
        for child in self._children():
            await child.gone.wait()

    def _children(self) -> list[Child]:
        return [*(link.child for link in self._links.values()), *self._leaving]

    def _begin(self, generation: int) -> TemplateLink:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                handle = self._start(generation, theirs)
            except BaseException:
                ours.close()
                raise
        link = TemplateLink(generation, handle, ours, self._ours, self._events, self._ended)
        self._links[generation] = link
        logger.info("gen=%d pid=%d imports the app", generation, handle.pid)
        return link

    def _ended(self, link: TemplateLink, how: str) -> None:
        generation = link.generation
        del self._links[generation]
        self._leaving = [each for each in (*self._leaving, link.child) if not each.gone.is_set()]
        self._events.on_end(link.child)
        link.close(link.child.reason or f"its template {how}")
        if generation not in self._kept:
            return
        if not link.child.reason:  # else it has logged that itself
            logger.warning("gen=%d pid=%d, which forks its workers, %s", generation, link.child.pid, how)
        if link.proven:
            with contextlib.suppress(OSError):  # the next worker tries it again, and says why
                self._begin(generation)
