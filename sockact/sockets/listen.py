"""Binds sockets if no service manager has passed any.

An address has the form of `--listen`: `host:port`, `[v6]:port`; `:port` or `port` for all addresses;
`/path` or `unix:/path`, `@abstract` or `unix:@abstract`; `udp:` before a port is for datagrams. `NAME=`
before it names the socket.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Iterable

from sockact.errors import SettingsError, UnavailableError
from sockact.sockets.fds import Listener

DEFAULT_NAME = "listen"
"""The name of such listeners; systemd names its own after the socket unit."""

BACKLOG = 4096
"""The kernel's default maximum (net.core.somaxconn): new connections wait in this queue."""

_TAKEN = "another process listens there"
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind(addresses: Iterable[str]) -> list[Listener]:
    """Listen on each of `addresses`.

    Returns:
        The listeners; a host name with several addresses gives several. The caller closes them.

    Raises:
        SettingsError: an address is malformed, or its host is unknown.
        UnavailableError: an address cannot be bound; the listeners for the others are closed.
    """
    listeners: list[Listener] = []
    try:
        for address in addresses:
            name, where = _named(address)
            listeners += [Listener.of(sock, name) for sock in _open(where)]
    except Exception:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listen_unix(where: str, mode: int | None = None) -> socket.socket:
    """Listen on a Unix stream socket at a path, or at an abstract address `@name`.

    A socket file that an ended process left behind is replaced; one with a listener is not.

    Args:
        where: the address.
        mode: the mode of the socket file; None leaves it to the umask.

    Raises:
        UnavailableError: a process listens there, or the path is another kind of file.
        OSError: the directory is missing or not accessible.
    """
    if where.startswith("@"):
        return _listening(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + where[1:], where)
    if os.path.lexists(where):
        _clear_away(where)
    umask = os.umask(0o777 & ~mode) if mode is not None else None
    try:
        return _listening(socket.AF_UNIX, socket.SOCK_STREAM, where, where)
    finally:
        if umask is not None:
            os.umask(umask)


def _named(address: str) -> tuple[str, str]:
    # ASCII, as in FileDescriptorName= of systemd.socket(5).
    match = re.fullmatch(r"([\w.-]{1,255})=(.*)", address, re.ASCII)
    return (match[1], match[2]) if match else (DEFAULT_NAME, address)


def _open(address: str) -> list[socket.socket]:
    if address.startswith(("unix:", "/", "@")):
        where = address.removeprefix("unix:")
        if not where or where == "@":
            raise SettingsError(f"listen={address!r}: expected a path or @name after unix:")
        try:
            return [listen_unix(where)]
        except OSError as error:
            raise UnavailableError(f"cannot listen on {address}: {error.strerror}") from error
    kind = socket.SOCK_DGRAM if address.startswith("udp:") else socket.SOCK_STREAM
    host, port = _host_and_port(address.removeprefix("udp:"))
    if not host:
        return [_all_addresses(kind, port, address)]
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError for names that DNS cannot have
        reason = error.strerror if isinstance(error, socket.gaierror) else error
        raise SettingsError(f"listen={address!r}: host {host!r} is unknown: {reason}") from error
    # A name may be listed twice for one address.
    places = dict.fromkeys((family, where) for family, _, _, _, where in found)
    return _each(kind, places, address)


def _each(kind: int, places: Iterable[tuple[int, object]], address: str) -> list[socket.socket]:
    """Listen on those addresses of a name that this machine has: there may be no IPv6 `localhost`."""
    sockets: list[socket.socket] = []
    missing: UnavailableError | None = None
    for family, where in places:
        try:
            sockets.append(_listening(family, kind, where, address))
        except UnavailableError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _NOT_HERE:
                for sock in sockets:
                    sock.close()
                raise
            missing = error
    if missing is not None and not sockets:
        raise missing
    return sockets


def _host_and_port(address: str) -> tuple[str, int]:
    # A port alone is one on all addresses, as in ListenStream= of systemd.socket(5).
    place = f":{address}" if address.isdecimal() else address
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^:\[\]/]*)):(\d{1,5})", place, re.ASCII)
    if not match or int(match[3]) > 65535:
        raise SettingsError(
            f"listen={address!r}: expected host:port, [v6]:port, port, /path, unix:/path or @abstract, "
            "with udp: before a port for datagrams, and optionally NAME= before that"
        )
    return match[1] or match[2], int(match[3])


def _all_addresses(kind: int, port: int, address: str) -> socket.socket:
    # One socket for both protocols, like `ListenStream=8000`; an IPv4 one if there is no IPv6.
    if socket.has_dualstack_ipv6():
        return _listening(socket.AF_INET6, kind, ("::", port), address, dualstack=True)
    return _listening(socket.AF_INET, kind, ("0.0.0.0", port), address)


def _listening(
    family: int, kind: int, where: object, address: str, *, dualstack: bool = False
) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        # Not for datagrams: another process could bind the same address, and receive them.
        if family != socket.AF_UNIX and kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        sock.bind(where)  # type: ignore[arg-type]  # its form depends on the family
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = _TAKEN if error.errno == errno.EADDRINUSE else error.strerror or error
        raise UnavailableError(f"cannot listen on {address}: {reason}") from error
    return sock


def _clear_away(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise UnavailableError(f"cannot listen on {path}: a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass  # the queue is full, so there is a listener
        except OSError as error:
            raise UnavailableError(f"cannot listen on {path}: {error.strerror}") from error
    raise UnavailableError(f"cannot listen on {path}: {_TAKEN}")
