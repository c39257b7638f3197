"""Descriptors that others send: received so that none is lost, and closed beside the event loop.

close(2) may take as long as a sender likes: of a socket with SO_LINGER until its data is acknowledged
(socket(7)), of a Unix socket in whose queue such a one lies, of a file whose file system is a process. The
kernel closes in the same way, within the system call, descriptors that a process reads past without
receiving them.

Rule of this file: code that reads from a socket on which others may send descriptors has room for all that
a message can carry, and closes those that it does not keep by `close`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

MAX_DESCRIPTORS = 253
"""Descriptors that one message can carry: SCM_MAX_FD of the kernel, unix(7)."""

SO_PASSRIGHTS = 83
"""The option that allows to send descriptors to a Unix socket: Linux 6.16,
include/uapi/asm-generic/socket.h. Python has no name for it. A connection inherits it from its listener."""

THREADS = 16
"""Slow closes at a time; further descriptors wait, open."""

IDLE_TIMEOUT = 5.0
"""Seconds until a thread without work ends."""

PEEKED = 1024 * 1024
"""Bytes that may be waiting on a connection: more than net.core.wmem_max lets a client have under way."""

_CREDENTIALS = struct.Struct("3i")
_LINGER = struct.Struct("2i")
_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(MAX_DESCRIPTORS * struct.calcsize("i"))


class Received(NamedTuple):
    """One message, or a piece of a stream.

    Attributes:
        data: the bytes; empty also at the end of a stream.
        descriptors: the descriptors that came with it, close-on-exec; they belong to the caller.
        pid: the sender, if the socket has SO_PASSCRED; else 0, and if the kernel does not know.
        flags: MSG_TRUNC if the data was cut, MSG_CTRUNC if this process has no room for a descriptor.
        address: the sender's address, of a datagram.
    """

    data: bytes
    descriptors: list[int]
    pid: int
    flags: int
    address: Any


def receive(sock: socket.socket, size: int, flags: int = 0) -> Received:
    """Read from a socket, with all descriptors; raises OSError as recvmsg(2)."""
    data, ancillary, found, address = sock.recvmsg(size, _ROOM, socket.MSG_CMSG_CLOEXEC | flags)
    descriptors, pid = _unpacked(ancillary)
    return Received(data, descriptors, pid, found, address)


def _unpacked(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[list[int], int]:
    """Return the descriptors that came with a message, and the PID of its sender."""
    pid = 0
    descriptors: list[int] = []
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += [fd for (fd,) in struct.iter_unpack("i", payload[: len(payload) // 4 * 4])]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = _CREDENTIALS.unpack(payload)[0]
    return descriptors, pid


def read(sock: socket.socket, size: int) -> bytes:
    """Read from a socket, and close the descriptors that come; raises OSError as recvmsg(2)."""
    received = receive(sock, size)
    close(received.descriptors)
    return received.data


async def read_later(sock: socket.socket, size: int) -> bytes:
    """Wait until a non-blocking socket is readable, and read from it."""
    import asyncio  # `import sockact` needs no event loop

    loop = asyncio.get_running_loop()
    while True:
        try:
            return read(sock, size)
        except (BlockingIOError, InterruptedError):
            pass
        come = loop.create_future()
        loop.add_reader(sock.fileno(), _come, come)
        try:
            await come
        finally:
            loop.remove_reader(sock.fileno())


def _come(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class Sifting(socket.socket):
    """A connection that receives data, and no descriptors, where the kernel cannot refuse them.

    asyncio's transports read and close by these methods; uvloop's call the kernel themselves.
    """

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read, as socket.recv."""
        received = receive(self, size, flags)
        close(received.descriptors)
        return received.data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer, as socket.recv_into."""
        room = memoryview(buffer).cast("B")
        room = room[:nbytes] if nbytes else room
        count, ancillary, _, _ = self.recvmsg_into([room], _ROOM, socket.MSG_CMSG_CLOEXEC | flags)
        close(_unpacked(ancillary)[0])
        return count

    def close(self) -> None:
        """Close it. A caller that ends the connection by that has hung up before: nothing can be added."""
        if self.fileno() >= 0:
            close([self.detach()])


def sifted(connection: socket.socket) -> socket.socket:
    """Return a connection that receives no descriptors; it takes over the one it is made of."""
    if connection.family != socket.AF_UNIX or can_refuse(connection):
        return connection
    return Sifting(connection.family, connection.type, connection.proto, connection.detach())


def can_refuse(sock: socket.socket) -> bool:
    """Return whether the kernel can refuse descriptors that are sent to this Unix socket."""
    try:
        sock.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
    except OSError:  # older than 6.16
        return False
    return True


def is_exposed(listener: socket.socket) -> bool:
    """Return whether every user of the machine may send descriptors to connections of this listener."""
    if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_STREAM or can_refuse(listener):
        return False
    path = listener.getsockname()
    try:
        return isinstance(path, bytes) or bool(os.stat(path).st_mode & stat.S_IWOTH)
    except OSError:  # out of reach from here
        return True


def refuse_descriptors(sock: socket.socket) -> None:
    """Make the kernel refuse descriptors sent to a Unix socket, if it can; the sender gets EPERM."""
    if sock.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):  # older than 6.16
            sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


def holds_descriptors(connection: socket.socket) -> bool:
    """Return whether descriptors wait on a connection whose listener refuses them: sent before it did."""
    try:
        if not connection.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS):
            return False
        refuse_descriptors(connection)
        waiting = receive(connection, PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:  # nothing has come, or the kernel is older than 6.16
        return False
    close(waiting.descriptors)
    return bool(waiting.descriptors)


def close_socket(sock: socket.socket) -> None:
    """Close a socket in whose queue others may have left descriptors; no other process uses it."""
    if sock.fileno() < 0:
        return
    if sock.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RD)  # from now on no one can add anything
    close([sock.detach()])


def close(descriptors: Iterable[int]) -> None:
    """Close descriptors, now or soon; never blocks."""
    later: list[int] = []
    for fd in descriptors:
        if _is_quick(fd):
            os.close(fd)
        else:
            later.append(fd)
    if later:
        _Closer.of_this_process.close(later)


def _is_quick(fd: int) -> bool:
    """Return whether closing this takes no time.

    So it is for a pipe, as comes with BARRIER=1, and for a socket with an empty queue that does not linger.
    """
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISSOCK(mode):
            return stat.S_ISFIFO(mode)
        sock = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        if sock.family == socket.AF_UNIX:
            return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return not _LINGER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size))[0]
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.detach()


class _Closer:
    """The threads that close descriptors; there are none while there is nothing to close."""

    of_this_process: ClassVar[_Closer]

    def __init__(self) -> None:
        self._descriptors: deque[int] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def close(self, descriptors: Iterable[int]) -> None:
        with self._changed:
            self._descriptors += descriptors
            if not self._idle and self._threads < THREADS:
                self._start()
            self._changed.notify()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="aside", daemon=True).start()
        except RuntimeError:  # no thread is to be had
            while not self._threads and self._descriptors:
                _close_one(self._descriptors.popleft())
        else:
            self._threads += 1

    def _work(self) -> None:
        while (fd := self._next()) is not None:
            _close_one(fd)

    def _next(self) -> int | None:
        """Wait for a descriptor to close; return None when the thread is to end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._descriptors, IDLE_TIMEOUT)
            self._idle -= 1
            if self._descriptors:
                # If this one takes time, another thread closes those that wait behind it.
                if len(self._descriptors) > 1 and not self._idle and self._threads < THREADS:
                    self._start()
                return self._descriptors.popleft()
            self._threads -= 1
            return None


def _close_one(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _begin_anew() -> None:
    """Forget, in a forked child, the threads, which it does not have."""
    _Closer.of_this_process = _Closer()


_begin_anew()
os.register_at_fork(after_in_child=_begin_anew)
