"""Finds the addresses at which the processes of a service listen by themselves, without a socket unit."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
"""Where the tree of control groups may be, systemd.resource-control(5)."""

_LISTEN = "0A"
"""TCP_LISTEN in proc_net_tcp, linux/include/net/tcp_states.h."""

_ACCEPTS = 0x10000
"""The flag of a Unix socket that accepts, __SO_ACCEPTCON in linux/include/uapi/linux/net.h."""


def addresses(control_group: str) -> list[str]:
    """Return the addresses, as a socket unit would list them; those of TCP first.

    Empty also if this process may not see the descriptors of others.
    """
    found: dict[str, None] = {}
    for pid in processes(control_group):
        inodes = _sockets(pid)
        found |= dict.fromkeys(_tcp(pid, inodes))
        found |= dict.fromkeys(_unix(pid, inodes))
    return sorted(found, key=lambda address: address.startswith("/"))


def processes(control_group: str) -> list[int]:
    """Return the processes in a control group and below."""
    for mount in MOUNTS:
        pids = [
            int(line)
            for folder, _, _ in os.walk(mount + control_group)
            for line in _lines(f"{folder}/cgroup.procs")
        ]
        if control_group and pids:
            return pids
    return []


def _sockets(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    found = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            link = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            if link.startswith("socket:["):
                found.add(link[len("socket:[") : -1])
    except OSError:
        pass  # it has ended, or is another user's
    return found


def _tcp(pid: int, inodes: set[str]) -> Iterator[str]:
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _lines(f"/proc/{pid}/net/{table}")[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                yield shown(family, fields[1])


def shown(family: socket.AddressFamily, local: str) -> str:
    """Return an address of proc_net_tcp, whose words are in the byte order of the machine, as text."""
    digits, _, port = local.partition(":")
    words = [int(digits[place : place + 8], 16) for place in range(0, len(digits), 8)]
    host = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return f"[{host}]:{int(port, 16)}" if family is socket.AF_INET6 else f"{host}:{int(port, 16)}"


def _unix(pid: int, inodes: set[str]) -> Iterator[str]:
    for line in _lines(f"/proc/{pid}/net/unix")[1:]:
        fields = line.split(maxsplit=7)
        listens = len(fields) == 8 and int(fields[3], 16) & _ACCEPTS
        if listens and fields[6] in inodes and fields[7].startswith("/"):
            yield fields[7]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []
