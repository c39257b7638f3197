"""A connection to the service by system calls, which shows each errno and the end of the stream.

Rejected: asyncio's streams. A transport that fails to write drops data that the kernel still has for
reading, and it reports end of stream, reset and its own close through one callback. Here `recv` tells them
apart:

    b""               the server sent FIN: `empty` or, in the middle of a response, `wrong`
    ECONNRESET, EPIPE the server sent RST, or is gone: `reset`
"""

import asyncio
import enum
import errno
import os
import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from .outcome import Outcome, UnservedError

RECV_BYTES = 65536

RECVS_PER_TURN = 8
"""Reads in a row before other tasks run: a server that always has data would block the loop."""

_PORTS = {"http": 80, "https": 443}

# Errors that say more than the call that failed: connect(2) is reset if the last listener is closed with
# this connection in its queue, and times out by the kernel's own limit.
_BY_ERRNO = {errno.ECONNRESET: Outcome.RESET, errno.ETIMEDOUT: Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Address:
    """The resolved address of the service, with the path of requests.

    `target` is the address for connect(2); `host` goes into the Host field; `path` is for requests that
    have no path of their own.
    """

    family: socket.AddressFamily
    target: str | tuple[Any, ...]
    host: str
    path: str
    tls: bool = False


def resolve(url: str) -> Address:
    """Parse `http://HOST[:PORT][/PATH]`, the same with https, or `unix:/PATH/OF/SOCKET`.

    Raises:
        ValueError: the URL is none of these.
        OSError: the host has no address (`socket.gaierror`).
    """
    if url.startswith("unix:/"):
        return Address(socket.AF_UNIX, url.removeprefix("unix:"), "localhost", "/")
    parts = urlsplit(url)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r}: expected host name and path in ASCII, without blanks")
    if "@" in parts.netloc:
        raise ValueError(f"{parts.scheme}://...@{parts.hostname}: the probe sends no user and no password")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is neither http[s]://HOST[:PORT][/PATH] nor unix:/PATH")
    port = parts.port or _PORTS[parts.scheme]
    found = _addresses(parts.hostname, port)
    # One address for the whole run, or the probe would repeat requests. IPv4 if there is a choice:
    # localhost has both, most services bind IPv4, and a listener on [::] accepts either.
    family, _, _, _, target = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Address(family, target, parts.netloc, path, tls=parts.scheme == "https")


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        if host != "localhost":
            raise
        # A root without /etc/hosts does not know it, but its meaning is fixed: RFC 6761, section 6.3.
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)


class IdleState(enum.Enum):
    """The state of a connection without a request in flight."""

    ALIVE = "alive"
    CLOSED = "closed"
    RESET = "reset"
    UNSOLICITED = "unsolicited"


class Connection:
    """A stream socket to the service; the caller of `open` calls `close`.

    Methods that send or receive raise `UnservedError`, with `reset` or `timeout` as the kernel reports.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._chunks = 0

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect.

        Raises:
            UnservedError: `refused`, or `reset` if the connection was reset in the handshake. Any other
                errno of connect(2) is `refused` too, and named: EADDRNOTAVAIL would be the probe's fault.
            OSError: this process has run out of descriptors, which is no outcome of a request.
        """
        sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if address.family is socket.AF_UNIX:
                await _connect_unix(sock, address.target)
            else:
                # The parts of a slow request must be sent as they are written.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.get_running_loop().sock_connect(sock, address.target)
        except OSError as error:
            sock.close()
            raise _unserved("connect", error, Outcome.REFUSED) from error
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            await self._loop.sock_sendall(self._sock, data)
        except OSError as error:
            raise _unserved("send", error, Outcome.RESET) from error

    async def receive(self) -> bytes:
        """Return the data that has arrived, at least one byte; b"" at the end of the stream."""
        self._chunks += 1
        if self._chunks % RECVS_PER_TURN == 0:
            await asyncio.sleep(0)
        try:
            return await self._loop.sock_recv(self._sock, RECV_BYTES)
        except OSError as error:
            raise _unserved("recv", error, Outcome.RESET) from error

    def look(self) -> IdleState:
        """Check, without waiting, the connection while no request is in flight."""
        try:
            data = self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return IdleState.ALIVE
        except OSError:
            return IdleState.RESET
        return IdleState.UNSOLICITED if data else IdleState.CLOSED

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._sock.close()


async def _connect_unix(sock: socket.socket, path: str | tuple[Any, ...]) -> None:
    """Connect, and wait while the backlog is full.

    connect(2) on a non-blocking unix socket does not queue: it fails with EAGAIN, no event tells when there
    is room, and `loop.sock_connect` would take it for success. The call is repeated until it succeeds, as a
    blocking one would wait in the kernel; nothing has reached the service before that.
    """
    while (code := sock.connect_ex(path)) == errno.EAGAIN:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    if code:
        raise OSError(code, os.strerror(code))


def _unserved(call: str, error: OSError, otherwise: Outcome) -> UnservedError:
    name = errno.errorcode.get(error.errno or 0, str(error))
    return UnservedError(_BY_ERRNO.get(error.errno or 0, otherwise), f"{call}: {name}")
