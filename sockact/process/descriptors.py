"""The descriptors of a process: taken over at its start, passed on when it executes the new code.

Besides the listeners there are ten kinds that sockact passes to itself, under names of its own: the
control socket, connections of callers on it that still wait for the result of a reload, connections of
clients that outlive the process which accepted them, a worker's supply of these, its lifeline, the load
board of all workers, the page of its statistics, the ledger of all statistics, a template's requests, and
what a supervisor needs of left-over workers.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sockact.config.settings import Settings
from sockact.errors import ActivationError, UnavailableError
from sockact.handover.transfer import CONNECTION, SUPPLY
from sockact.process import terminal
from sockact.process.ledger import is_past
from sockact.process.left_over import LeftOvers
from sockact.process.parent_death import LIFELINE
from sockact.protocols import control_address
from sockact.protocols.control import Caller
from sockact.protocols.load_board import LOAD, OwnRow
from sockact.protocols.statistics_page import STATISTICS, WorkerStatistics
from sockact.sockets import fds, listen
from sockact.sockets.fds import ANSWERED, RESERVED, Kind, Listener
from sockact.system import private_folder
from sockact.systemd import activation
from sockact.systemd.activation import Clue

CONTROL = "sockact.control"
CALLER = "sockact.caller"
FORKS = "sockact.forks"
"""The name of the socket on which a template gets the requests of its supervisor."""

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class Sockets:
    """The descriptors that were passed to this process, or that it has opened to serve.

    Attributes:
        listeners: the listeners of the app.
        control: the control socket, if there is one.
        answered: the listeners on which sockact itself answers, health checks or agent checks.
        supply: the socket on which a supervisor sends connections.
        forks: the socket on which a template gets requests.
        lifeline: signals the end of the parent; stays open as long as the process lives.
        load: this worker's row of the load board.
        statistics: the page in which this worker counts.
        ledger: the descriptors of the ledger of the process before this one, or for the next one.
        connections: the connections of clients that outlive the process which accepted them.
        left_over: the workers of the supervisor before this process.
        callers: the callers of the reload that ends with the start of this process.
        clue: the traces of socket activation at the start of this process.
        fault: the error in the descriptors that were passed.
    """

    listeners: list[Listener] = field(default_factory=list)
    control: Listener | None = None
    answered: list[Listener] = field(default_factory=list)
    supply: Listener | None = None
    forks: Listener | None = None
    lifeline: Listener | None = None
    load: OwnRow | None = None
    statistics: WorkerStatistics | None = None
    ledger: list[Listener] = field(default_factory=list)
    connections: list[Listener] = field(default_factory=list)
    left_over: LeftOvers = field(default_factory=LeftOvers)
    callers: list[Caller] = field(default_factory=list)
    clue: Clue = field(default_factory=Clue)
    fault: ActivationError | None = None

    @classmethod
    def adopted(cls) -> Sockets:
        """Take over the descriptors that were passed, before this process opens one that could be mistaken.

        An error in them is kept for `complete`: so early there is no way to report it.
        """
        sockets = cls(clue=Clue.here(os.environ))
        try:
            passed = fds.adopt(standard_input=True)
        except ActivationError as error:
            passed, sockets.fault = [], error
        for listener in passed:
            if sockets.left_over.add(listener) or sockets._add_memory(listener):
                continue
            try:
                sockets._sort(listener)
            except ActivationError as error:
                sockets.fault = sockets.fault or error  # go on: the connections of clients must not be lost
        return sockets

    def become_worker(self, passed: Iterable[Listener]) -> None:
        """Give a process that a template has forked descriptors of its own, in place of the template's."""
        for each in (self.lifeline, self.forks):
            if each is not None:
                each.close()
        self.lifeline = self.forks = None
        for listener in passed:
            if not self._add_memory(listener):
                self._sort(listener)

    def check(self, *, told: bool) -> None:
        """Check the descriptors that were passed.

        Args:
            told: whether a setting names the addresses for the case that none were.

        Raises:
            ActivationError: they are malformed, a wrapper has them, or none of them is for an app.
            UnavailableError: none were passed, though there is a socket unit.
        """
        if self.fault is not None:
            raise self.fault
        if reason := activation.misnumbered(os.environ):
            raise reason
        if self.listeners:
            return
        self._require_other_than_answered()
        if reason := activation.obstacle(self.clue, os.environ, told=told):
            raise reason
        if self.clue.owner:
            logger.warning("LISTEN_PID=%s names another process: ignored", self.clue.owner)

    def named(self, name: str) -> list[Listener]:
        """Return the listeners of a name on which sockact itself answers."""
        return [listener for listener in self.answered if listener.name == name]

    @property
    def connected(self) -> bool:
        """True if connections were passed rather than listening sockets: `Accept=yes`."""
        return bool(self.listeners) and all(listener.connected for listener in self.listeners)

    def complete(self, settings: Settings, *, controlled: bool, told: bool = True) -> None:
        """Bind the sockets that were not passed.

        Args:
            settings: name the addresses.
            told: whether they were given, and are not the default.
            controlled: whether a control socket is needed.

        Raises:
            ActivationError, UnavailableError: as `check`.
            SettingsError, UnavailableError: as `listen.bind`; also UnavailableError: no socket was passed
                though `require_activation` is set.
        """
        self.check(told=told)
        if not self.listeners:
            self._bind(settings)
        if controlled and self.control is None:
            self.control = _open_control(settings)
        elif self.control is not None:
            private_folder.OWN.adopt(self.control.address)

    def close_unused(self, used: Sequence[Listener]) -> None:
        """Close the listeners that are not `used`; the manager keeps them."""
        for listener in [each for each in self.listeners if each not in used]:
            logger.warning("%s=%s is closed: no app is assigned to it", listener.name, listener.address)
            self.listeners.remove(listener)
            listener.close()

    def leave(self) -> None:
        """Close the listening sockets, on which nobody accepts any more: new connections are refused.

        The others stay: they are still written to.
        """
        for listener in [each for each in self.listeners if each.listening]:
            self.listeners.remove(listener)
            listener.close()

    def passed_on(self, callers: Sequence[Caller]) -> list[Listener]:
        """Return all descriptors that the next program needs, those of `callers` who wait included."""
        own = [listener for listener in (self.control, self.supply) if listener is not None]
        return [
            *self.listeners,
            *self.answered,
            *own,
            *self.connections,
            *self.ledger,
            *(Listener.of(caller.sock, CALLER) for caller in callers),
        ]

    def descriptors(self) -> list[int]:
        """Return all of these descriptors that are open."""
        held = [*self.passed_on(self.callers), *self.left_over.descriptors()]
        held += [each for each in (self.lifeline, self.forks) if each is not None]
        return [each.fd if each.sock is None else each.sock.fileno() for each in held]

    def keep(self, descriptors: Sequence[int]) -> bool:
        """Keep copies of connections, to pass them on; return whether that was possible."""
        copies: list[Listener] = []
        try:
            copies.extend(Listener.of(socket.socket(fileno=os.dup(fd)), CONNECTION) for fd in descriptors)
        except OSError:
            for copy in copies:
                copy.close()
            return False
        self.connections += copies
        return True

    def kept(self) -> list[int]:
        """Return the descriptors of the connections."""
        return [connection.fd for connection in self.connections]

    def taken(self) -> list[socket.socket]:
        """Return the connections; from now on they are the caller's."""
        connections, self.connections = self.connections, []
        return [connection.sock for connection in connections if connection.sock is not None]

    def close(self) -> None:
        """Close everything; another process that holds the sockets keeps them listening."""
        for listener in [*self.passed_on([]), *self.left_over.descriptors()]:
            listener.close()

    def overview(self) -> list[dict[str, str]]:
        """Return the sockets as in `sockact.protocols.overview`."""
        return [
            {"name": listener.name, "kind": listener.kind.value, "address": listener.address}
            for listener in (*self.listeners, *self.answered)
        ]

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Return the addresses at which the app is served, by the names of the sockets."""
        names = dict.fromkeys(listener.name for listener in self.listeners)
        return {
            name: tuple(listener.address for listener in self.listeners if listener.name == name)
            for name in names
        }

    def describe(self) -> str:
        """Return the addresses at which the app is served, for a log line."""
        return ", ".join(f"{listener.name}={listener.address}" for listener in self.listeners)

    def _bind(self, settings: Settings) -> None:
        if settings.require_activation:
            raise UnavailableError("require_activation=yes: expected sockets by LISTEN_FDS, found none")
        for listener in listen.bind(settings.listen):
            self._sort(listener)
        if not self.listeners:
            self._require_other_than_answered()
        hint = terminal.hint(self.listeners, settings)
        logger.info("no socket was passed: listens on %s%s", self.describe(), hint)

    def _require_other_than_answered(self) -> None:
        """Raise ActivationError if the only sockets are those on which sockact itself answers."""
        if self.answered:
            names = ", ".join(f"{listener.name}={listener.address}" for listener in self.answered)
            raise ActivationError(f"no socket is for an app: sockact itself answers on {names}")

    def _sort(self, listener: Listener) -> None:
        """Sort a descriptor by its name; raises ActivationError if it is of another kind."""
        name = listener.name
        if name in ANSWERED and listener.listening and listener.kind is Kind.STREAM:
            self.answered.append(listener)
        elif not name.startswith(RESERVED):
            self.listeners.append(listener)
        elif name not in _OURS and not listener.listening:
            logger.info("descriptor %d (%s) is of a later version: closed", listener.fd, name)
            listener.close()
        elif name not in _OURS or not _OURS[name](listener) or self._has(name):
            raise _misnamed(listener)
        elif name in _SINGLE:
            setattr(self, _SINGLE[name], listener)
        elif name == CONNECTION:
            self.connections.append(listener)
        elif listener.sock is not None:
            self.callers.append(Caller(listener.sock))

    def _add_memory(self, listener: Listener) -> bool:
        """Take the load board, or memory with statistics; return False if this is another descriptor."""
        if listener.kind is not Kind.OTHER:
            return False
        if listener.name.startswith(f"{LOAD}."):
            self.load = OwnRow.passed(listener)
        elif listener.name == STATISTICS:
            self.statistics = WorkerStatistics.passed(listener)
        elif is_past(listener):
            self.ledger.append(listener)
        else:
            return False
        return True

    def taken_ledger(self) -> list[Listener]:
        """Return the descriptors of the ledger before; from now on they are the caller's."""
        ledger, self.ledger = self.ledger, []
        return ledger

    def _has(self, name: str) -> bool:
        """Return whether a descriptor of which there is only one is there already."""
        return name in _SINGLE and getattr(self, _SINGLE[name]) is not None


def _is_unix(listener: Listener, kind: Kind) -> bool:
    return listener.sock is not None and listener.sock.family == socket.AF_UNIX and listener.kind is kind


_SINGLE = {CONTROL: "control", SUPPLY: "supply", LIFELINE: "lifeline", FORKS: "forks"}
"""The attributes for descriptors of which a process has one at most, by their names."""

_OURS: dict[str, Callable[[Listener], bool]] = {
    CONTROL: lambda listener: _is_unix(listener, Kind.STREAM) and listener.listening,
    CALLER: lambda listener: _is_unix(listener, Kind.STREAM) and not listener.listening,
    SUPPLY: lambda listener: _is_unix(listener, Kind.SEQPACKET) and not listener.listening,
    FORKS: lambda listener: _is_unix(listener, Kind.SEQPACKET) and not listener.listening,
    LIFELINE: lambda listener: _is_unix(listener, Kind.STREAM) and not listener.listening,
    # Its client may have gone, so that it need not be connected any more.
    CONNECTION: lambda listener: listener.kind in (Kind.STREAM, Kind.SEQPACKET) and not listener.listening,
}
"""The kinds of the descriptors that sockact passes to itself, by their names."""


def _misnamed(listener: Listener) -> ActivationError:
    what = f"{listener.kind.value}{' that listens' if listener.listening else ''}"
    where = f" on {listener.address}" if listener.address else ""
    return ActivationError(
        f"descriptor {listener.fd} ({listener.name}) is a {what}{where}: names that begin with "
        f"{RESERVED!r} are for what sockact passes to itself: expected another FileDescriptorName="
    )


def _open_control(settings: Settings) -> Listener | None:
    opened = control_address.open_server(settings.control)
    return None if opened is None else Listener.of(opened, CONTROL)
