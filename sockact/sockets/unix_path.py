"""Finds Unix sockets of a service that clients can no longer reach by their path.

A path can be removed or taken by another socket, while the first one goes on listening. The kernel tells
which file a socket is bound to: sock_diag(7), UNIX_DIAG_VFS. Over netlink, as in

    nlmsghdr, unix_diag_req    family, protocol, states, inode, what to show, cookie
    nlmsghdr, unix_diag_msg    family, type, state, inode, cookie; then attributes
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
UDIAG_SHOW_VFS = 2
UNIX_DIAG_VFS = 1

HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBHIII8x")
MESSAGE = struct.Struct("=BBBxI8x")
ATTRIBUTE = struct.Struct("=HH")
FILE = struct.Struct("=II")


def unreachable(sockets: Iterable[Mapping[str, str]], pid: int) -> list[str]:
    """Return a line for each Unix socket that cannot be reached by its path.

    Args:
        sockets: the sockets of a service; see `sockact.protocols.overview`.
        pid: its main process.

    Returns:
        The lines; none for sockets that cannot be checked, because of missing rights or another network
        namespace.
    """
    paths = [each["address"] for each in sockets if each["address"].startswith("/")]
    if not paths:
        return []
    try:
        held, bound = _sockets_of(pid), dict(_files())
    except OSError:
        return []
    found = [(path, _wrong(path, held, bound)) for path in paths]
    return [
        f"no client gets here by {path}: {wrong}; stop the service, and restart its socket unit"
        for path, wrong in found
        if wrong
    ]


def _wrong(path: str, held: set[int], bound: Mapping[tuple[int, int], int]) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: no path can be like this
        return "it was removed"
    owner = bound.get((found.st_ino & 0xFFFFFFFF, os.major(found.st_dev) << 20 | os.minor(found.st_dev)))
    if owner is None:
        return "no socket is bound there any more"
    return "" if owner in held else "another socket is bound there now"


def _sockets_of(pid: int) -> set[int]:
    """Return the inodes of a process's sockets."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if link.startswith("socket:["):
            found.add(int(link[8:-1]))
    return found


def _files() -> Iterator[tuple[tuple[int, int], int]]:
    """Yield, for each Unix socket that is bound to a file, inode and device of the file, and the socket."""
    flags = NLM_F_REQUEST | NLM_F_DUMP
    request = REQUEST.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, UDIAG_SHOW_VFS)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, flags, 1, 0) + request)
        while True:
            for kind, payload in _messages(netlink.recv(65536)):
                if kind != SOCK_DIAG_BY_FAMILY:
                    return  # the last one, or an error
                inode = MESSAGE.unpack_from(payload)[3]
                for name, value in _attributes(payload[MESSAGE.size :]):
                    if name == UNIX_DIAG_VFS:
                        yield FILE.unpack_from(value), inode


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        yield kind, data[HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, name = ATTRIBUTE.unpack_from(data)
        yield name, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
