"""Both ends of the control socket: `ControlServer` obeys on it, `request` asks.

One line of JSON each way over a Unix stream socket:

    {"verb": "reload", "manager": true, "environ": {"SOCKACT_WORKERS": "4"}}
    {"ok": false, "text": "reload failed: SyntaxError: invalid syntax (app.py, line 3)"}

    {"verb": "status"}
    {"ok": true, "text": "", "service": ...}    (see `overview`)

`manager` says that systemd waits for this reload (`ExecReload=`), and `environ` what its settings are in
the environment of that process, which is the unit's as it is now; both may be absent.
The answer comes when the verb has been carried out. Between the two, the service may have
replaced itself: the connection of a waiting caller is passed on, and the new code answers.
Only root and the service's own user are obeyed, as SO_PEERCRED tells. Where the socket is, `address` says.
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
from typing import Any, cast

from sockact.errors import UnavailableError
from sockact.protocols import overview
from sockact.sockets.acceptor import Acceptor
from sockact.system import forks
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary
from sockact.untrusted.shape import deviation

LINE_LIMIT = 4096
PATIENCE = 5.0
"""Seconds a caller may take to say what it wants."""

TEXT_LIMIT = 16384
"""Characters of a result, which is sent without waiting: an exception's text may be of any length."""

ANSWER_LIMIT = 4 << 20
"""Bytes of an answer; the status of a thousand workers has a third of a MiB."""

CONTACT = 30.0
"""Seconds until a service must have taken a call. A worker's event loop may hang for as long, see
`worker_watchdog`, and it is that loop which answers where the main process itself serves."""

MOST = 16
"""Callers that have not said yet what they want; the one that has been silent for longest makes room."""

MOST_WAITING = 64
"""Callers that wait for the result of a reload; root is always let in."""

logger = logging.getLogger(__package__)


class Caller:
    """A connection on which somebody waits for an answer.

    Args:
        sock: the connection.
        message: what was asked there.

    Attributes:
        manager: whether the service manager waits for the answer, too.
        environ: settings as the caller's environment has them; None if it is not the unit's.
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
        """Tell the result and hang up. A caller that has gone meanwhile is no error."""
        with contextlib.suppress(OSError):
            self.sock.sendall(_line({"ok": ok, "text": text[:TEXT_LIMIT], **more}))
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection, for all who hold it."""
        hang_up(self.sock)
        ancillary.close_socket(self.sock)

    @property
    def waits(self) -> bool:
        """Whether it was not answered yet."""
        return self.sock.fileno() >= 0


class ControlServer:
    """Listens on the control socket.

    Args:
        listener: the listening socket; stays open when the server is closed.
        reload: called with each caller that asks for a reload.
        overview: returns what a caller is told who asks for the status.
    """

    def __init__(
        self,
        listener: socket.socket,
        reload: Callable[[Caller], None],
        overview: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._reload = reload
        self._overview = overview
        self._silent: list[asyncio.Task[None]] = []
        self._waiting: list[Caller] = []
        self._refused: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(listener, self._arrived)

    def close(self) -> None:
        """Stop listening; callers wait in the queue for whoever adopts the socket next."""
        self._acceptor.stop()
        for task in self._silent:
            task.cancel()

    def _arrived(self, sock: socket.socket) -> None:
        """Let only those speak who may; before anything is read, for that may be anything."""
        caller = Caller(sock)
        user = peer(sock)[1]
        if user not in (0, os.geteuid()):
            if user not in self._refused:
                logger.warning("uid=%d is refused on the control socket", user)
                self._refused.add(user)
            caller.answer(False, f"uid {user} may not do that: only root and uid {os.geteuid()}")
            return
        if len(self._silent) >= MOST:
            self._silent.pop(0).cancel()
        task = self._loop.create_task(self._serve(caller, user))
        self._silent.append(task)
        task.add_done_callback(functools.partial(self._served, caller))

    def _served(self, caller: Caller, task: asyncio.Task[None]) -> None:
        if task in self._silent:
            self._silent.remove(task)
        if task.cancelled():  # perhaps before it had begun
            caller.answer(False, "nothing was said, and others call, or this process ends")

    async def _serve(self, caller: Caller, user: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                message = await self._read_message(caller.sock)
        except (OSError, ValueError, RecursionError, TimeoutError):
            caller.answer(False, 'expected one line: {"verb": "reload"} or {"verb": "status"}')
            return
        if (verb := message.get("verb")) == "reload":
            self._request_reload(Caller(caller.sock, message), user)
        elif verb == "status":
            await self._tell(caller, {"ok": True, "text": "", "service": self._overview()})
        else:
            caller.answer(False, f"unknown verb {verb!r}: expected 'reload' or 'status'")

    async def _tell(self, caller: Caller, answer: Mapping[str, Any]) -> None:
        """Tell what may be more than the kernel takes at once, as the status of hundreds of workers is."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(PATIENCE):
                await self._loop.sock_sendall(caller.sock, _line(answer))
        caller.hang_up()

    def _request_reload(self, caller: Caller, user: int) -> None:
        self._waiting = [each for each in self._waiting if each.waits]
        if user and len(self._waiting) >= MOST_WAITING:
            caller.answer(False, f"{len(self._waiting)} others wait for a reload already")
            return
        self._waiting.append(caller)
        self._reload(caller)

    async def _read_message(self, sock: socket.socket) -> Mapping[str, Any]:
        line = b""
        while not line.endswith(b"\n") and len(line) < LINE_LIMIT:
            data = await ancillary.read_later(sock, LINE_LIMIT)
            if not data:
                break
            line += data
        message = json.loads(line)
        return message if isinstance(message, dict) else {}


def request(verb: str, where: str, *, patience: float | None = CONTACT, **more: Any) -> dict[str, Any]:
    """Ask the service behind the control socket at `where`, and wait for its answer; see `ask`."""
    with connect(where, patience) as sock:
        return ask(sock, verb, where, patience=patience, **more)


def ask(
    sock: socket.socket, verb: str, where: str, *, patience: float | None = CONTACT, **more: Any
) -> dict[str, Any]:
    """Ask the service at the other end of a connection to its control socket, and wait for its answer.

    It may be anybody: root asks in a folder where the service's user may put what it likes.

    Args:
        sock: the connection, as `connect` gives it.
        verb: `reload` or `status`.
        where: to what it was opened.
        patience: how many seconds the answer may take; None for no limit.
        more: what else the service is told.

    Returns:
        `ok`, whether it was done; `text`, what the service says about it; and `service` for a status.

    Raises:
        UnavailableError: it ended before it answered, or its answer is none.
    """
    deadline = None if patience is None else time.monotonic() + patience
    try:
        with contextlib.suppress(BrokenPipeError):  # a refusal may be on its way
            sock.sendall(_line({"verb": verb, **more}))
        line = _read_line(sock, deadline)
    except BlockingIOError:
        hint = "; the reload may still be under way" if verb == "reload" else ""
        raise UnavailableError(f"no answer from {where} within {patience or CONTACT:g} s{hint}") from None
    except OSError as error:
        raise UnavailableError(f"the service hung up before it answered: {error.strerror}") from error
    if not line:
        raise UnavailableError("the service ended before it answered")
    return _understood(verb, line, where)


def connect(where: str, patience: float | None) -> socket.socket:
    """Return a connection to whoever has the control socket at `where`; raises UnavailableError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A time limit of Python's would not wait at all where the queue is full: connect(2), EAGAIN.
    limit = CONTACT if patience is None else min(patience, CONTACT)
    _limit(sock, socket.SO_SNDTIMEO, limit)
    try:
        sock.connect(where.replace("@", "\0", 1) if where.startswith("@") else where)
    except BlockingIOError:
        sock.close()
        raise UnavailableError(f"the control socket {where} takes no calls within {limit:g} s") from None
    except (OSError, ValueError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UnavailableError(f"no service at the control socket {where}: {reason}") from error
    return sock


def _read_line(sock: socket.socket, deadline: float | None) -> bytes:
    """Return what comes up to the end of a line, or of the stream; BlockingIOError after `deadline`."""
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
    """Let calls on a socket fail with EAGAIN after so long: socket(7)."""
    microseconds = max(round(seconds * 1_000_000), 1)  # 0 would mean for ever
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", *divmod(microseconds, 1_000_000)))


def _understood(verb: str, line: bytes, where: str) -> dict[str, Any]:
    """Return the answer in a line; raises UnavailableError if it is not one that the verb can have."""
    expected: dict[str, Any] = {"ok": bool, "text": str}
    try:
        if len(line) > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT:,} bytes")
        answer = json.loads(line)
        if isinstance(answer, dict) and answer.get("ok") is True and verb == "status":
            expected["service"] = overview.SHAPE
        if wrong := deviation(answer, expected):
            raise ValueError(wrong)
        # What could not be shown: half a surrogate pair, and numbers that JSON has not.
        json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200] if isinstance(error, ValueError) else "nested too deeply"
        raise UnavailableError(f"{where} answers, but not as sockact does: {reason}") from None
    return cast("dict[str, Any]", answer)


def peer(sock: socket.socket) -> tuple[int, int]:
    """Return the PID and the UID at the other end of a Unix stream socket.

    For a connection these are of the process that called connect(2) or listen(2). Source: unix(7).
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
