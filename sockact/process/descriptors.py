"""The descriptors of a worker process: taken over at its start, passed on when it replaces itself.

Besides the listeners there are five kinds that sockact passes to itself, under names of its own: the
control socket, connections of callers on it that still wait for the result of a reload, connections of
clients that outlive the process which accepted them, a worker's supply of these, and its lifeline.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sockact.config.settings import Settings
from sockact.errors import ActivationError, UnavailableError
from sockact.handover.transfer import CONNECTION, SUPPLY
from sockact.process import health
from sockact.process.parent_death import LIFELINE
from sockact.protocols import control_address
from sockact.protocols.control import Caller
from sockact.sockets import fds, listen
from sockact.sockets.fds import RESERVED, Kind, Listener
from sockact.system import private_folder
from sockact.systemd import activation
from sockact.systemd.activation import Clue

CONTROL = "sockact.control"
CALLER = "sockact.caller"

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class Sockets:
    """What this process serves on, and how it can be told to reload.

    Attributes:
        listeners: on which the app is served.
        control: the control socket, if there is one.
        health: on which sockact itself says how the service is.
        supply: where a supervisor sends connections that outlive the process which accepted them.
        lifeline: what tells by a signal that the parent has ended; stays open as long as the process lives.
        connections: those of clients, whom nobody has told of any change.
        callers: who waits for the reload of which the start of this process is the second half.
        clue: what there was at the start of this process.
        fault: what is wrong with what was passed.
    """

    listeners: list[Listener] = field(default_factory=list)
    control: Listener | None = None
    health: list[Listener] = field(default_factory=list)
    supply: Listener | None = None
    lifeline: Listener | None = None
    connections: list[Listener] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    clue: Clue = field(default_factory=Clue)
    fault: ActivationError | None = None

    @classmethod
    def adopted(cls) -> Sockets:
        """Take over what was passed, before this process opens a descriptor that could be taken for it.

        What is wrong with it is kept for `complete`: so early there is no way to report it.
        """
        sockets = cls(clue=Clue.here(os.environ))
        try:
            passed = fds.adopt(standard_input=True)
        except ActivationError as error:
            passed, sockets.fault = [], error
        for listener in passed:
            try:
                sockets._sort(listener)
            except ActivationError as error:
                sockets.fault = sockets.fault or error  # and go on: stored clients are not lost by it
        return sockets

    def check(self, *, told: bool) -> None:
        """Find out whether something is wrong with what was passed, or with that nothing was.

        Args:
            told: whether this process was told where to listen.

        Raises:
            ActivationError: what was passed is malformed, or a wrapper has it.
            UnavailableError: nothing was passed, though there is a socket unit.
        """
        if self.fault is not None:
            raise self.fault
        if self.listeners:
            return
        if reason := activation.obstacle(self.clue, os.environ, told=told):
            raise reason
        if self.clue.owner:
            logger.warning("LISTEN_PID=%s has nothing to do with this process: ignored", self.clue.owner)

    @property
    def connected(self) -> bool:
        """Whether clients' connections were passed rather than sockets that listen: `Accept=yes`."""
        return bool(self.listeners) and all(listener.connected for listener in self.listeners)

    def complete(self, settings: Settings, *, controlled: bool, told: bool = True) -> None:
        """Bind what was not passed.

        Args:
            settings: where to.
            told: whether that was said, and is not the default.
            controlled: whether there shall be a control socket.

        Raises:
            ActivationError, UnavailableError: as `check`.
            SettingsError, UnavailableError: as `listen.bind`; also UnavailableError: nothing was passed
                where it has to be.
        """
        self.check(told=told)
        if not self.listeners:
            self._bind(settings)
        if controlled and self.control is None:
            self.control = _open_control(settings)
        elif self.control is not None:
            private_folder.OWN.adopt(self.control.address)

    def close_unused(self, used: Sequence[Listener]) -> None:
        """Give up the listeners that are not `used`; the manager keeps them."""
        for listener in [each for each in self.listeners if each not in used]:
            logger.warning("no app is for %s=%s: closed", listener.name, listener.address)
            self.listeners.remove(listener)
            listener.close()

    def leave(self) -> None:
        """Close the sockets that listen: nobody accepts there any more, and newcomers are refused.

        The others stay: they are still written to.
        """
        for listener in [each for each in self.listeners if each.listening]:
            self.listeners.remove(listener)
            listener.close()

    def passed_on(self, callers: Sequence[Caller]) -> list[Listener]:
        """Return everything that the next program needs, `callers` who wait for it included."""
        own = [listener for listener in (self.control, self.supply) if listener is not None]
        return [
            *self.listeners,
            *self.health,
            *own,
            *self.connections,
            *(Listener.of(caller.sock, CALLER) for caller in callers),
        ]

    def descriptors(self) -> list[int]:
        """Return all descriptors of these that are open."""
        held = self.passed_on(self.callers) + ([] if self.lifeline is None else [self.lifeline])
        return [each.fd if each.sock is None else each.sock.fileno() for each in held]

    def keep(self, descriptors: Sequence[int]) -> bool:
        """Keep copies of clients' connections, to pass them on; return whether that was possible."""
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
        """Return the descriptors of the clients' connections."""
        return [connection.fd for connection in self.connections]

    def taken(self) -> list[socket.socket]:
        """Return the clients' connections; from now on they are the caller's."""
        connections, self.connections = self.connections, []
        return [connection.sock for connection in connections if connection.sock is not None]

    def close(self) -> None:
        """Give everything up; whoever else holds the sockets keeps them listening."""
        for listener in self.passed_on([]):
            listener.close()

    def overview(self) -> list[dict[str, str]]:
        """Return the sockets as in `sockact.protocols.overview`."""
        return [
            {"name": listener.name, "kind": listener.kind.value, "address": listener.address}
            for listener in (*self.listeners, *self.health)
        ]

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Return where the app is served, by the names of the sockets."""
        names = dict.fromkeys(listener.name for listener in self.listeners)
        return {
            name: tuple(listener.address for listener in self.listeners if listener.name == name)
            for name in names
        }

    def describe(self) -> str:
        """Say for a log line where the app is served."""
        return ", ".join(f"{listener.name}={listener.address}" for listener in self.listeners)

    def _bind(self, settings: Settings) -> None:
        if settings.require_activation:
            raise UnavailableError("require_activation=yes: expected sockets by LISTEN_FDS, found none")
        for listener in listen.bind(settings.listen):
            self._sort(listener)
        logger.info("no socket was passed: listens on %s", self.describe())

    def _sort(self, listener: Listener) -> None:
        """Put a descriptor where it belongs; raises ActivationError if it is not what its name says."""
        name = listener.name
        if name == health.NAME and listener.listening and listener.kind is Kind.STREAM:
            self.health.append(listener)
        elif not name.startswith(RESERVED):
            self.listeners.append(listener)
        elif name not in _OURS and not listener.listening:
            logger.info("descriptor %d (%s) is of a later version: closed", listener.fd, name)
            listener.close()
        elif name not in _OURS or not _OURS[name](listener) or self._has(name):
            raise _misnamed(listener)
        elif name == CONTROL:
            self.control = listener
        elif name == SUPPLY:
            self.supply = listener
        elif name == LIFELINE:
            self.lifeline = listener
        elif name == CONNECTION:
            self.connections.append(listener)
        elif listener.sock is not None:
            self.callers.append(Caller(listener.sock))

    def _has(self, name: str) -> bool:
        """Tell whether a descriptor is there already of which there is only one."""
        single = {CONTROL: self.control, SUPPLY: self.supply, LIFELINE: self.lifeline}
        return single.get(name) is not None


def _is_unix(listener: Listener, kind: Kind) -> bool:
    return listener.sock is not None and listener.sock.family == socket.AF_UNIX and listener.kind is kind


_OURS: dict[str, Callable[[Listener], bool]] = {
    CONTROL: lambda listener: _is_unix(listener, Kind.STREAM) and listener.listening,
    CALLER: lambda listener: _is_unix(listener, Kind.STREAM) and not listener.listening,
    SUPPLY: lambda listener: _is_unix(listener, Kind.SEQPACKET) and not listener.listening,
    LIFELINE: lambda listener: _is_unix(listener, Kind.STREAM) and not listener.listening,
    # Its client may have gone, so that it need not be connected any more.
    CONNECTION: lambda listener: listener.kind in (Kind.STREAM, Kind.SEQPACKET) and not listener.listening,
}
"""What a descriptor is that sockact passes to itself, by its name."""


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
