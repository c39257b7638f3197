"""Applies X-Forwarded-For and X-Forwarded-Proto from the proxies that the settings trust.

A proxy is identified by its address, or on a Unix socket by its user, which the kernel tells. Several lines
of a field are one list, the later ones to the right (RFC 9110, section 5.3), and each proxy appends to it.
So the list is read from the right: the first address that is not a trusted proxy is taken, and the last
scheme, which the nearest proxy has written. Everything further left may be forged by a client.
"""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sockact.engines.http.lifespan import App
from sockact.errors import SettingsError
from sockact.sockets.peer import Peer

PEER = "sockact.peer"
"""Key of a Unix connection's `Peer` in `scope["state"]`."""

NOBODY = 65534
"""The user ID that a process in a user namespace sees for all users that its namespace does not map; with
`PrivateUsers=yes` all but root and its own. Source: user_namespaces(7), "Unmapped user and group IDs"."""

SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
"""Values of X-Forwarded-Proto, and the scheme of a WebSocket for each."""

_UNIX = "unix"
_MAPPED = "::ffff:"


def believing(app: App, proxies: Sequence[str]) -> App:
    """Return an app that gets `scope["client"]` and `scope["scheme"]` as trusted proxies report them.

    Args:
        app: the app.
        proxies: addresses, networks, `unix` for any peer on a Unix socket, `uid=` with a name or number.

    Raises:
        SettingsError: one of them is none of these.
    """
    if not proxies:
        return app
    users = {_user(proxy) for proxy in proxies if proxy.startswith("uid=")}
    addresses = [_address(proxy) for proxy in proxies if proxy != _UNIX and not proxy.startswith("uid=")]
    believing = ProxyHeadersMiddleware(app, [*addresses, _UNIX])

    async def believed(scope: Any, receive: Any, send: Any) -> None:
        client = scope.get("client")
        if client is not None and client[0].startswith(_MAPPED):
            scope["client"] = (client[0].removeprefix(_MAPPED), client[1])
        elif client is None and _is_trusted(scope):
            scope["client"] = (_UNIX, 0)
        if (client := scope.get("client")) is not None and client[0] in believing.trusted_hosts:
            _believe_scheme(scope)
        await believing(scope, receive, send)

    def _is_trusted(scope: Any) -> bool:
        peer: Peer | None = scope.get("state", {}).get(PEER)
        return peer is not None and (_UNIX in proxies or peer.uid in users)

    return believed


def _believe_scheme(scope: Any) -> None:
    """Apply the last scheme of a list, which uvicorn ignores; it applies a single one itself."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    said = b",".join(lines).rpartition(b",")[2].decode("latin-1").strip()
    if said in SCHEMES:
        scope["scheme"] = SCHEMES[said] if scope["type"] == "websocket" else said


def _address(proxy: str) -> str:
    try:
        return str(ip_network(proxy) if "/" in proxy else ip_address(proxy))
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
