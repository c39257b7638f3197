"""Applies X-Forwarded-For, X-Forwarded-Proto and Forwarded from the proxies that the settings trust.

A proxy is identified by its address, or on a Unix socket by its user, which the kernel tells. Several lines
of a field are one list, the later ones to the right (RFC 9110, section 5.3), and each proxy appends to it.
So the list is read from the right: the first address that is not a trusted proxy is taken, and the last
scheme, which the nearest proxy has written. Everything further left may be forged by a client. If there are
both kinds of fields, the older X-Forwarded- ones count: proxies that know only one pass the other on.
"""

from __future__ import annotations

import pwd
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from sockact.errors import SettingsError
from sockact.sockets.peer import Peer, unmapped

NOBODY = 65534
"""The user ID that a process in a user namespace sees for all users that its namespace does not map; with
`PrivateUsers=yes` all but root and its own. Source: user_namespaces(7), "Unmapped user and group IDs"."""

SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
"""Schemes that a proxy may name, and that of the request then."""

_UNIX = "unix"

_PAIR = re.compile(rb'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)\s*')
"""A pair of an element of Forwarded. Source: RFC 7239, section 4."""

_PORT = re.compile("[0-9]{1,5}")

Client = tuple[str, int] | None


class ProxyConnection(Protocol):
    """A connection of which a proxy may be the client."""

    client: Client
    scheme: str
    peer: Peer | None


class Proxies:
    """The proxies that are believed.

    Args:
        proxies: addresses, networks, `unix` for any peer on a Unix socket, `uid=` with a name or number.

    Raises:
        SettingsError: one of them is none of these.
    """

    def __init__(self, proxies: Sequence[str]) -> None:
        self._any_unix = _UNIX in proxies
        self._users = {_user(proxy) for proxy in proxies if proxy.startswith("uid=")}
        self._networks = [
            _network(each) for each in proxies if each != _UNIX and not each.startswith("uid=")
        ]

    def told(
        self, headers: Sequence[tuple[bytes, bytes]], connection: ProxyConnection
    ) -> tuple[Client, str]:
        """Return the client and the scheme of a request."""
        if not self.believes(connection.client, connection.peer):
            return connection.client, connection.scheme
        hops = [each.strip() for each in _joined(headers, b"x-forwarded-for").split(b",")]
        scheme = _joined(headers, b"x-forwarded-proto").rpartition(b",")[2].strip().lower()
        if not any(hops) and not scheme:
            elements = list(_elements(_joined(headers, b"forwarded")))
            hops = [each.get(b"for", b"") for each in elements]
            scheme = elements[-1].get(b"proto", b"").lower() if elements else b""
        return self._client(hops) or connection.client, SCHEMES.get(scheme, connection.scheme)

    def _believes_address(self, host: str) -> bool:
        """Return whether a proxy has this address."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def believes(self, client: Client, peer: Peer | None) -> bool:
        """Return whether the client of a connection is a proxy that is believed.

        Args:
            client: its address; None on a Unix socket.
            peer: its process on a Unix socket.
        """
        if client is not None:
            return self._believes_address(client[0])
        return peer is not None and (self._any_unix or peer.uid in self._users)

    def _client(self, hops: Sequence[bytes]) -> Client:
        found: Client = None
        for hop in reversed(hops):
            if not hop:
                continue
            found = _node(hop.decode("latin-1"))
            if not self._believes_address(found[0]):
                break
        return found


def _joined(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    return b",".join(value for name, value in headers if name == wanted)


def _elements(value: bytes) -> list[dict[bytes, bytes]]:
    """Return the elements of Forwarded, each with its pairs; those that are none have no pairs."""
    elements: list[dict[bytes, bytes]] = [{}]
    place = 0
    while place < len(value):
        pair = _PAIR.match(value, place)
        if pair is not None:
            text = pair[2]
            if text.startswith(b'"'):
                text = re.sub(rb"\\(.)", rb"\1", text[1:-1])
            elements[-1][pair[1].lower()] = text.strip()
            place = pair.end()
        if place < len(value) and value[place : place + 1] == b",":
            elements.append({})
        elif place < len(value) and value[place : place + 1] != b";":
            elements[-1] = {}
            place = value.find(b",", place) - 1 if b"," in value[place:] else len(value)
        place += 1
    return elements if value.strip() else []


def _node(text: str) -> tuple[str, int]:
    """Return host and port of an address; without a port it is 0."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return unmapped(host), int(port) if _PORT.fullmatch(port) else 0


def _network(proxy: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(proxy if "/" in proxy else str(ip_address(proxy)))
    except ValueError as error:
        raise SettingsError(
            f"trusted_proxies={proxy}: {error}: expected an address, a network, unix or uid=NAME"
        ) from None


def _user(proxy: str) -> int:
    name = proxy.removeprefix("uid=")
    try:
        user = int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError for a string that cannot be a user name
        raise SettingsError(f"trusted_proxies={proxy[:200]}: there is no user {name[:200]!r}") from None
    if user == NOBODY:
        raise SettingsError(f"trusted_proxies={proxy}: in a user namespace this is any user: expected unix")
    return user
