"""Both ends of the control socket: `ControlServer` answers on it, `request` asks.

One line of JSON each way over a Unix stream socket:

    {"verb": "reload", "manager": true, "environ": {"SOCKACT_WORKERS": "4"}}
    {"ok": false, "text": "reload failed: SyntaxError: invalid syntax (app.py, line 3)"}

    {"verb": "status"}
    {"ok": true, "text": "", "service": ...}    (see `overview`)

    {"verb": "pause", "seconds": 30}
    {"ok": true, "text": "paused for another 29 s: no request is in flight"}

    {"verb": "resume"}
    {"ok": true, "text": "resumed"}

`manager` means that systemd waits for this reload (`ExecReload=`), and `environ` are the settings in the
environment of that process, which is the unit's as it is now; both may be absent.
The answer comes when the verb has been carried out. Between the two, the service may have
replaced itself: the connection of a waiting caller is passed on, and the new code answers.
Only root and the service's own user are obeyed, by SO_PEERCRED. `control_address` finds the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast

from sockact.errors import UnavailableError
from sockact.protocols import overview
from sockact.sockets.acceptor import Acceptor
from sockact.sockets.peer import peer_of
from sockact.system import forks, loop_tasks
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary
from sockact.untrusted.shape import deviation

LINE_LIMIT = 4096
"""Bytes of a request."""

REQUEST_TIMEOUT = 5.0
"""Seconds that a caller may take to send its request, or to receive a status."""

TEXT_LIMIT = 16384
"""Characters of a result, which is sent without waiting: an exception's text may be of any length."""

ANSWER_LIMIT = 4 << 20
"""Bytes of an answer; the status of a thousand workers has a third of a MiB."""

CONNECT_TIMEOUT = 30.0
"""Seconds until a service must have accepted a connection. A worker's event loop may hang for as long, see
`worker_watchdog`, and it is that loop which answers where the main process itself serves."""

MAX_SILENT = 16
"""Callers without a request yet, at most; the one that has been silent for longest makes room."""

MAX_WAITING = 64
"""Callers that wait for the result of a reload or a pause, at most; root is always let in."""

VERBS = ("reload", "status", "pause", "resume")

LONGEST_PAUSE = 3600.0
"""Seconds; most clients give up long before."""

logger = logging.getLogger(__package__)


class Caller:
    """A connection on which a caller waits for an answer.

    Args:
        sock: the connection.
        message: the request.

    Attributes:
        manager: whether the service manager waits for the answer, too.
        environ: the settings in the caller's environment; None if that is not the unit's.
    """

    def __init__(self, sock: socket.socket, message: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.sock = sock
        forks.keep(sock)
        self.manager = message.get("manager") is True
        environ = message.get("environ")
        self.environ: Mapping[str, str] | None = None
        if isinstance(environ, dict) and all(isinstance(value, str) for value in environ.values()):
            self.environ = environ

    def answer(self, ok: bool, text: str, **more: Any) -> None:
        """Send the result and hang up. A caller that has gone meanwhile is no error."""
        with contextlib.suppress(OSError):
            self.sock.sendall(_line({"ok": ok, "text": text[:TEXT_LIMIT], **more}))
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection, for all processes that hold it."""
        hang_up(self.sock)
        ancillary.close_socket(self.sock)

    @property
    def waits(self) -> bool:
        """True until it is answered."""
        return self.sock.fileno() >= 0


class Obedient(Protocol):
    """The service that callers ask; it answers each of them."""

    def request_reload(self, caller: Caller) -> None:
        """Reload the service."""

    def request_pause(self, caller: Caller, seconds: float) -> None:
        """Pause the service for so long."""

    def request_resume(self, caller: Caller) -> None:
        """End its pause."""


class ControlServer:
    """Listens on the control socket.

    Args:
        listener: the listening socket; stays open when the server is closed.
        service: carries the verbs out, but for `status`.
        overview: returns the answer to a caller that asks for the status.
    """

    def __init__(
        self,
        listener: socket.socket,
        service: Obedient,
        overview: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._service = service
        self._overview = overview
        self._silent: list[asyncio.Task[None]] = []
        self._waiting: list[Caller] = []
        self._refused: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(listener, self._arrived)

    def close(self) -> None:
        """Stop listening; callers wait in the queue for the process that adopts the socket next."""
        self._acceptor.stop()
        for task in self._silent:
            task.cancel()

    def _arrived(self, sock: socket.socket) -> None:
        """Refuse callers that may not ask, before anything is read: that may be anything."""
        caller = Caller(sock)
        peer = peer_of(sock)
        user = -1 if peer is None else peer.uid
        if user not in (0, os.geteuid()):
            if user not in self._refused:
                logger.warning("uid=%d is refused on the control socket", user)
                self._refused.add(user)
            caller.answer(False, f"uid {user} may not do that: only root and uid {os.geteuid()}")
            return
        if len(self._silent) >= MAX_SILENT:
            self._silent.pop(0).cancel()
        task = loop_tasks.begin(self._serve(caller, user))
        self._silent.append(task)
        task.add_done_callback(functools.partial(self._served, caller))

    def _served(self, caller: Caller, task: asyncio.Task[None]) -> None:
        if task in self._silent:
            self._silent.remove(task)
        if task.cancelled():  # perhaps before it had begun
            caller.answer(False, "no request came, and others call, or this process ends")

    async def _serve(self, caller: Caller, user: int) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                message = await self._read_message(caller.sock)
        except (OSError, ValueError, RecursionError, TimeoutError):
            caller.answer(False, f'expected one line: {{"verb": VERB}}, where VERB is {_one_of_verbs()}')
            return
        if (verb := message.get("verb")) == "reload":
            self._request_reload(Caller(caller.sock, message), user)
        elif verb == "status":
            await self._answer_later(caller, {"ok": True, "text": "", "service": self._overview()})
        elif verb == "pause":
            self._request_pause(caller, user, message.get("seconds"))
        elif verb == "resume":
            self._service.request_resume(caller)
        else:
            caller.answer(False, f"unknown verb {verb!r}: expected {_one_of_verbs()}")

    def _request_pause(self, caller: Caller, user: int, seconds: object) -> None:
        number = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0
        if 0 < number <= LONGEST_PAUSE:
            if self._may_wait(caller, user):
                self._service.request_pause(caller, float(number))
        else:
            text = f"seconds={seconds!r}: expected a number up to {LONGEST_PAUSE:.0f} and above 0"
            caller.answer(False, text)

    async def _answer_later(self, caller: Caller, answer: Mapping[str, Any]) -> None:
        """Send an answer that the kernel may not take at once, such as a status of hundreds of workers."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._loop.sock_sendall(caller.sock, _line(answer))
        caller.hang_up()

    def _request_reload(self, caller: Caller, user: int) -> None:
        if self._may_wait(caller, user):
            self._service.request_reload(caller)

    def _may_wait(self, caller: Caller, user: int) -> bool:
        """Refuse a caller if too many wait already."""
        self._waiting = [each for each in self._waiting if each.waits]
        if user and len(self._waiting) >= MAX_WAITING:
            caller.answer(False, f"{len(self._waiting)} others wait already")
            return False
        self._waiting.append(caller)
        return True

    async def _read_message(self, sock: socket.socket) -> Mapping[str, Any]:
        line = b""
        while not line.endswith(b"\n") and len(line) < LINE_LIMIT:
            data = await ancillary.read_later(sock, LINE_LIMIT)
            if not data:
                break
            line += data
        message = json.loads(line)
        return message if isinstance(message, dict) else {}


def request(
    verb: str, where: str, *, patience: float | None = CONNECT_TIMEOUT, **more: Any
) -> dict[str, Any]:
    """Ask the service behind the control socket at `where`, and wait for its answer; see `ask`."""
    with connect(where, patience) as sock:
        return ask(sock, verb, where, patience=patience, **more)


def ask(
    sock: socket.socket, verb: str, where: str, *, patience: float | None = CONNECT_TIMEOUT, **more: Any
) -> dict[str, Any]:
    """Ask the service at the other end of a connection to its control socket, and wait for its answer.

    The other end is not trusted: root asks in a folder where the service's user may put what it likes.

    Args:
        sock: the connection, as `connect` gives it.
        verb: one of `VERBS`.
        where: the address of the control socket.
        patience: the seconds that the answer may take; None for no limit.
        more: further members of the request.

    Returns:
        `ok`, whether it was done; `text`, the result in words; and `service` for a status.

    Raises:
        UnavailableError: it ended before it answered, or its answer is not valid.
    """
    line = _exchange(sock, _line({"verb": verb, **more}), verb, where, patience)
    if not line:
        raise UnavailableError("the service ended before it answered")
    return _understood(verb, line, where)


def _exchange(sock: socket.socket, sent: bytes, verb: str, where: str, patience: float | None) -> bytes:
    deadline = None if patience is None else time.monotonic() + patience
    try:
        with contextlib.suppress(BrokenPipeError):  # a refusal may be on its way
            sock.sendall(sent, socket.MSG_NOSIGNAL)  # SIGPIPE ends a command whose output nobody reads
        return _read_line(sock, deadline)
    except BlockingIOError:
        hint = "; the reload may still be under way" if verb == "reload" else ""
        limit = patience or CONNECT_TIMEOUT
        raise UnavailableError(f"no answer from {where} within {limit:g} s{hint}") from None
    except OSError as error:
        raise UnavailableError(f"the service hung up before it answered: {error.strerror}") from error


def connect(where: str, patience: float | None) -> socket.socket:
    """Return a connection to the control socket at `where`; raises UnavailableError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A time limit of Python's would not wait at all where the queue is full: connect(2), EAGAIN.
    limit = CONNECT_TIMEOUT if patience is None else min(patience, CONNECT_TIMEOUT)
    _limit(sock, socket.SO_SNDTIMEO, limit)
    try:
        sock.connect(where.replace("@", "\0", 1) if where.startswith("@") else where)
    except BlockingIOError:
        sock.close()
        raise UnavailableError(
            f"the control socket {where} accepts no connection within {limit:g} s"
        ) from None
    except (OSError, ValueError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UnavailableError(f"no service at the control socket {where}: {reason}") from error
    return sock


def _read_line(sock: socket.socket, deadline: float | None) -> bytes:
    """Read up to the end of a line, or of the stream; raises BlockingIOError at `deadline`."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) <= ANSWER_LIMIT:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise BlockingIOError
            _limit(sock, socket.SO_RCVTIMEO, left)
        data = sock.recv(65536)
        if not data:
            break
        line += data
    return bytes(line)


def _limit(sock: socket.socket, option: int, seconds: float) -> None:
    """Make calls on a socket fail with EAGAIN after this time: socket(7)."""
    microseconds = max(round(seconds * 1_000_000), 1)  # 0 would mean for ever
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", *divmod(microseconds, 1_000_000)))


def _understood(verb: str, line: bytes, where: str) -> dict[str, Any]:
    """Return the answer in a line; raises UnavailableError if the verb can have no such answer."""
    expected: dict[str, Any] = {"ok": bool, "text": str}
    try:
        if len(line) > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT:,} bytes")
        answer = json.loads(line)
        if isinstance(answer, dict) and answer.get("ok") is True and verb == "status":
            expected["service"] = overview.SHAPE
        if wrong := deviation(answer, expected):
            raise ValueError(wrong)
        # These could not be shown: half a surrogate pair, and numbers that JSON does not have.
        json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200] if isinstance(error, ValueError) else "nested too deeply"
        raise UnavailableError(f"{where} answers, but not as sockact does: {reason}") from None
    return cast("dict[str, Any]", answer)


def _one_of_verbs() -> str:
    return " or ".join(map(repr, VERBS))


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
