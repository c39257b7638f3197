"""Both ends of what a worker and its supervisor tell each other.

A worker sends notifications, as to any service manager. Beside the assignments of sd_notify(3) they have
some that are private to sockact, as that page allows; systemd ignores them. `Reporter` writes them, and
`WorkerMessage` is what a supervisor reads. A program that is not sockact's sends a part of them, or none.

    X_SOCKACT_REQUESTS=7         counters, see `Counters`: these three come together
    X_SOCKACT_IN_FLIGHT=1
    X_SOCKACT_CONNECTIONS=3
    X_SOCKACT_IDLE=1             nothing to do for as long as `idle_exit`; 0 when that has changed
    X_SOCKACT_RECYCLE=reason     asks for a replacement of the worker
    X_SOCKACT_HOOK=text          a hook of the app has failed
    X_SOCKACT_REQUEST=1          asks for a reload of the service
    X_SOCKACT_ASK=1              asks for a SIGHUP before each reload, and answers it
    X_SOCKACT_CONSENT=refusal    the answer; empty if the reload may begin
    X_SOCKACT_ORDERS=1           asks for orders over the supply in place of signals
    X_SOCKACT_EXITS=1            asks to be told when other workers end
    X_SOCKACT_EXIT_SEEN=pid      the hooks for the end of a process have run
    X_SOCKACT_VERSION=text       the version of the app's code
    X_SOCKACT_OPTIONS=words      the supervisor's settings, as the app's code has them
    X_SOCKACT_ENDING=1           the worker has drained, or failed to start, and is about to end
    X_SOCKACT_REASON=text        the reason for which it gives up before it is ready
    X_SOCKACT_PAUSED=number      it is paused, and so many requests are still in flight

A supervisor sends a worker that has asked for them orders, as texts over its supply (see `handover`).
Nothing that an app does to the signals of its process keeps an order away, and orders arrive one after the
other. An older worker does not ask for them; it gets signals instead.

    SIGTERM, SIGQUIT, SIGHUP     do what the signal does
    LISTENING                    the first one: more will follow
    INTRODUCE                    say again what a supervisor has to know: this is another one
    KEEP                         nobody takes connections any more
    EXITED pid                   another worker has ended
    BEAT                         count this order on the load board, see `load_board`
    SHED number                  hand over so many connections, as they are idle: others have fewer
    TRIM                         return memory that is free: there is pressure on it
    PAUSE number                 accept and read nothing new for so many milliseconds; 0: go on

Rule of this file: the other end may be of an older or a later version. A message that is unknown or
malformed counts as not sent, and never raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from sockact.protocols.counters import Counters
from sockact.protocols.notify import Notifier, one_line, usec
from sockact.untrusted.number import decimal

_PREFIX = "X_SOCKACT_"

_REASON = "X_SOCKACT_REASON"
_IDLE = "X_SOCKACT_IDLE"
_RECYCLE = "X_SOCKACT_RECYCLE"
_HOOK = "X_SOCKACT_HOOK"
_REQUEST = "X_SOCKACT_REQUEST"
_ASK = "X_SOCKACT_ASK"
_CONSENT = "X_SOCKACT_CONSENT"
_VERSION = "X_SOCKACT_VERSION"
_ENDING = "X_SOCKACT_ENDING"
_ORDERS = "X_SOCKACT_ORDERS"
_OPTIONS = "X_SOCKACT_OPTIONS"
_EXITS = "X_SOCKACT_EXITS"
_EXIT_SEEN = "X_SOCKACT_EXIT_SEEN"
_PAUSED = "X_SOCKACT_PAUSED"

LISTENING = "LISTENING"
KEEP = "KEEP"
INTRODUCE = "INTRODUCE"
EXITED = "EXITED"
BEAT = "BEAT"
SHED = "SHED"
TRIM = "TRIM"
PAUSE = "PAUSE"

NUMBERED_ORDERS = (EXITED, SHED, PAUSE)
"""The orders with a number."""

ENDING_ORDERS = ("SIGTERM", "SIGQUIT")
"""The orders that end a worker."""

ORDER_LIMIT = 64
"""The bytes of the longest order."""


class Reporter(Notifier):
    """The notifier of a process that serves or supervises; its manager is systemd, or a supervisor."""

    def __init__(self) -> None:
        super().__init__()
        self._standing: dict[str, str] = {}  # what each supervisor has to know

    def introduce(self) -> None:
        """Tell again, to another supervisor, what holds for as long as this process lives."""
        self._send("\n".join(f"{name}={text}" for name, text in self._standing.items()), must=True)

    def ready(self, status: str) -> None:
        """Tell that start or reload is done, and requests are answered."""
        self._standing["READY"] = "1"
        super().ready(status)

    def stopping(self, status: str) -> None:
        """Tell that the stop has begun."""
        self._standing["STOPPING"] = "1"
        super().stopping(status)

    def status(self, text: str, counters: Counters | None = None) -> None:
        """Show one line of text in `systemctl status`; a supervisor gets the counters, too."""
        counted = "" if counters is None else f"\n{_written(counters)}"
        self._send(f"STATUS={one_line(text)}{counted}")

    def failing(self, reason: str) -> None:
        """Tell the reason for which this process, which is not ready, gives up."""
        self._send(f"STATUS={one_line(reason)}\n{_REASON}={one_line(reason)}", must=True)

    def idle(self, idle: bool) -> None:
        """Tell whether there has been nothing to do for so long that the service may end."""
        self._send(f"{_IDLE}={idle:d}")

    def recycle(self, reason: str) -> None:
        """Ask for a replacement of this process."""
        self._tell(_RECYCLE, reason)

    def hook_failed(self, text: str) -> None:
        """Tell that a hook of the app has failed."""
        self._tell(_HOOK, text)

    def request_reload(self) -> None:
        """Ask for a reload of the whole service."""
        self._tell(_REQUEST, "1")

    def ask_before_reload(self) -> None:
        """Ask for a SIGHUP before each reload, which `consent` answers."""
        self._declare(_ASK, "1")

    def consent(self, refusal: str) -> None:
        """Answer it: empty if the reload may begin, else the reason against it."""
        self._tell(_CONSENT, refusal)

    def take_orders(self) -> None:
        """Ask for orders over the supply in place of signals."""
        self._declare(_ORDERS, "1")

    def watch_exits(self) -> None:
        """Ask to be told when other workers end."""
        self._declare(_EXITS, "1")

    def exit_seen(self, pid: int) -> None:
        """Tell that the hooks for the end of a process have run."""
        self._tell(_EXIT_SEEN, f"{pid}")

    def paused(self, unfinished: int) -> None:
        """Tell that this process is paused, and how many requests are still in flight."""
        self._tell(_PAUSED, f"{unfinished}")

    def version(self, text: str) -> None:
        """Tell the version of the app's code."""
        self._declare(_VERSION, text)

    def ending(self) -> None:
        """Tell that this process has drained, or failed to start, and is about to end."""
        self._declare(_ENDING, "1")

    def options(self, words: Sequence[str]) -> None:
        """Tell the supervisor's settings, as the app's code has them."""
        self._declare(_OPTIONS, " ".join(words))

    def _declare(self, name: str, text: str) -> None:
        self._standing[name] = one_line(text)
        self._tell(name, text)

    def _tell(self, name: str, text: str) -> None:
        self._send(f"{name}={one_line(text)}", must=True)


class WorkerMessage(NamedTuple):
    """One notification of a worker, as its supervisor understands it.

    Attributes:
        ready: READY=1.
        stopping: STOPPING=1.
        pings: WATCHDOG=1.
        extension: seconds by which its start, reload or stop is to be extended; None for none.
        error: the error that ERRNO tells of, in words; empty for none.
        counters: its counters; None if they are not all there.
        idle: whether it has had nothing to do for long; None if it does not say.
        recycle: the reason for which it asks to be replaced; empty if it does not.
        failed_hook: the failure of a hook; None for none.
        requests_reload: it asks for a reload.
        asks_before_reload: it asks for a SIGHUP before each reload.
        consent: its answer to that, a refusal or empty; None for none.
        takes_orders: it asks for orders in place of signals.
        watches_exits: it asks to be told when other workers end.
        exit_seen: the process for whose end its hooks have run; None for none.
        version: the version of its code; None if it does not say.
        options: the supervisor's settings, as its code has them; None if it does not say.
        ending: it is about to end.
        reason: the reason for which it gives up before it is ready; None if it does not say.
        paused: it is paused, and so many requests are in flight; None if it does not say.
    """

    ready: bool = False
    stopping: bool = False
    pings: bool = False
    extension: float | None = None
    error: str = ""
    counters: Counters | None = None
    idle: bool | None = None
    recycle: str = ""
    failed_hook: str | None = None
    requests_reload: bool = False
    asks_before_reload: bool = False
    consent: str | None = None
    takes_orders: bool = False
    watches_exits: bool = False
    exit_seen: int | None = None
    version: str | None = None
    options: str | None = None
    ending: bool = False
    reason: str | None = None
    paused: int | None = None

    @classmethod
    def from_assignments(cls, said: Mapping[str, str]) -> Self:
        """Read the assignments of a notification."""
        error = said.get("ERRNO", "0")
        return cls(
            ready=said.get("READY") == "1",
            stopping=said.get("STOPPING") == "1",
            pings=said.get("WATCHDOG") == "1",
            extension=usec(said.get("EXTEND_TIMEOUT_USEC")),
            error="" if error == "0" else said.get("STATUS") or f"ERRNO={error}",
            counters=_counters(said),
            idle=said[_IDLE] == "1" if _IDLE in said else None,
            recycle=said.get(_RECYCLE, ""),
            failed_hook=said.get(_HOOK),
            requests_reload=_REQUEST in said,
            asks_before_reload=_ASK in said,
            consent=said.get(_CONSENT),
            takes_orders=_ORDERS in said,
            watches_exits=_EXITS in said,
            exit_seen=decimal(said.get(_EXIT_SEEN)),
            version=said.get(_VERSION),
            options=said.get(_OPTIONS),
            ending=_ENDING in said,
            reason=said.get(_REASON),
            paused=decimal(said.get(_PAUSED)),
        )


class SupervisorOrder(NamedTuple):
    """One order of a supervisor to a worker.

    Attributes:
        name: the name of a signal, or LISTENING, INTRODUCE, KEEP, EXITED, BEAT, SHED, TRIM, PAUSE; a later
            version may have others.
        number: the process that has ended, of EXITED; how many connections, of SHED; for how many
            milliseconds, of PAUSE.
    """

    name: str
    number: int | None = None

    def __bytes__(self) -> bytes:
        return (self.name if self.number is None else f"{self.name} {self.number}").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an order; of a malformed one there is only a name that means nothing."""
        text = data.decode("ascii", "replace")
        name, _, digits = text.partition(" ")
        if name in NUMBERED_ORDERS and (number := decimal(digits, digits=9)) is not None:
            return cls(name, number)
        return cls(text)


def _counters(said: Mapping[str, str]) -> Counters | None:
    numbers = [decimal(said.get(_PREFIX + name.upper())) for name in Counters._fields]
    known = [number for number in numbers if number is not None]
    return Counters(*known) if len(known) == len(numbers) else None


def _written(counters: Counters) -> str:
    return "\n".join(f"{_PREFIX}{name.upper()}={value}" for name, value in counters._asdict().items())
