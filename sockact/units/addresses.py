"""Addresses of `--listen`, and the socket units that systemd opens them by.

`443` and `:443` are a port on all addresses, `127.0.0.1:8000` and `[::1]:8000` one on one address.
`unix:/path`, `/path` and `unix:@name` are Unix sockets; `udp:` before a port is for datagrams. `NAME=`
before it all is the FileDescriptorName=, by which an app and a setting know it.

A socket unit has one name, and its options are for one kind of socket: NoDelay= of a Unix socket is an
error in the journal. So each name and each kind has a unit of its own.

Source: systemd.socket(5).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sockact.errors import UsageError

NAME = "web"
"""The FileDescriptorName= of an address without one."""

_MOST_PATH = 107
"""Bytes of a Unix socket's path: unix(7), sun_path."""

_EXPECTED = "expected 443, 127.0.0.1:8000, [::1]:8000, unix:/path or unix:@name, with udp: for datagrams"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen on.

    Attributes:
        name: its FileDescriptorName=.
        kind: `tcp`, `udp` or `unix`.
        value: the address as a Listen...= has it.
        port: the port; 0 of a Unix socket, and where the instance's name is the port.
        bound: whether it is one address of the network, which the machine may not have yet.
    """

    name: str
    kind: str
    value: str
    port: int = 0
    bound: bool = False

    @property
    def option(self) -> str:
        """The option of a socket unit for it."""
        return "ListenDatagram" if self.kind == "udp" else "ListenStream"


@dataclass(frozen=True, slots=True)
class SocketGroup:
    """The addresses of one socket unit: what its name has after the service's, and the addresses."""

    suffix: str
    addresses: Sequence[ListenAddress]


def parse(text: str, *, template: bool = False) -> ListenAddress:
    """Read an address; in a `template` its port or its path may be or have `%i`.

    Raises:
        UsageError: it has none of the forms above.
    """
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)=(.*)", text)
    name, where = (match[1], match[2]) if match else (NAME, text)
    if where.startswith(("unix:", "/", "@")):
        return _unix(name, where.removeprefix("unix:"), text)
    kind = "udp" if where.startswith("udp:") else "tcp"
    return _inet(name, kind, where.removeprefix("udp:"), text, template)


def grouped(addresses: Iterable[ListenAddress]) -> list[SocketGroup]:
    """Return the addresses by socket unit; the first one has the name of the service.

    Raises:
        UsageError: an address is there twice, or there is none.
    """
    groups: dict[tuple[str, str], list[ListenAddress]] = {}
    seen: set[tuple[str, str]] = set()
    for each in addresses:
        if (each.option, each.value) in seen:
            raise UsageError(f"--listen {each.value} is there twice: expected each address once")
        seen.add((each.option, each.value))
        groups.setdefault((each.name, each.kind), []).append(each)
    if not groups:
        raise UsageError("expected --listen ADDRESS, such as --listen 127.0.0.1:8000")
    return [
        SocketGroup(_suffix(key, list(groups)[:index]), found)
        for index, (key, found) in enumerate(groups.items())
    ]


def _suffix(key: tuple[str, str], before: Sequence[tuple[str, str]]) -> str:
    """Return the words that tell a socket unit from those before it."""
    if not before:
        return ""
    name, kind = key
    parts = [] if name == before[0][0] else [name]
    if any(each == name for each, _ in before):
        parts.append(kind)
    return "".join(f"-{part}" for part in parts)


def _unix(name: str, path: str, text: str) -> ListenAddress:
    if not path.startswith(("/", "@")) or len(path) < 2 or path.endswith("/"):
        raise UsageError(f"--listen {text}: expected unix:/path or unix:@name")
    if len(path.encode()) > _MOST_PATH:
        raise UsageError(f"--listen {text}: expected at most {_MOST_PATH} bytes, as unix(7) says")
    return ListenAddress(name, "unix", path)


def _inet(name: str, kind: str, where: str, text: str, template: bool) -> ListenAddress:
    match = re.fullmatch(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/]*)):)?([0-9]{1,5}|%i)", where)
    if match is None or (match[3] == "%i" and not template):
        raise UsageError(f"--listen {text}: {_EXPECTED}")
    host, port = match[1] or match[2] or "", 0 if match[3] == "%i" else int(match[3])
    if match[3] != "%i" and not 0 < port < 65536:
        raise UsageError(f"--listen {text}: expected a port from 1 to 65535")
    if not host:
        return ListenAddress(name, kind, match[3], port)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        hint = "127.0.0.1" if host == "localhost" else "its address"
        raise UsageError(f"--listen {text}: systemd looks up no host names: expected {hint}") from None
    shown = f"[{ip}]" if ip.version == 6 else str(ip)
    bound = not (ip.is_loopback or ip.is_unspecified)
    return ListenAddress(name, kind, f"{shown}:{match[3]}", port, bound)
