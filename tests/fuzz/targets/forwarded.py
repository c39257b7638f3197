"""Fields of proxies: X-Forwarded-For, X-Forwarded-Proto, Forwarded; only trusted ones are believed."""

from __future__ import annotations

from dataclasses import dataclass

from sockact.engines.http.forwarded import SCHEMES, Client, Proxies
from sockact.sockets.peer import Peer
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"f",
        b"p",
        b"F",
        b"\n",
        b",",
        b";",
        b'"',
        b"\\",
        b"=",
        b"for=",
        b"proto=https",
        b'for="[2001:db8::1]:80"',
    ),
    *(
        b"192.0.2.1",
        b"10.0.0.1",
        b"[::1]:99999",
        b"unknown",
        b"_hidden",
        b":65536",
        b"https",
        b"\t",
        b"\xa0",
        b"\x85",
    ),
)

LARGE = 64 * 1024

NAMES = {b"f": b"x-forwarded-for", b"p": b"x-forwarded-proto", b"F": b"forwarded"}

TRUSTED = Proxies(["10.0.0.0/8", "::1"])


@dataclass
class Connection:
    """Stands for a connection.

    Attributes:
        client: its client.
        scheme: its scheme.
        peer: the process of its client.
    """

    client: Client
    scheme: str = "http"
    peer: Peer | None = None


def target(data: bytes) -> None:
    """Read fields: each line begins with the letter of a field's name."""
    fields = []
    for line in data.split(b"\n"):
        value = bytes(byte for byte in line[1:] if byte == 9 or (byte >= 32 and byte != 127)).strip(b" \t")
        fields.append((NAMES.get(line[:1], b"x-other"), value))
    stranger, proxy = Connection(("192.0.2.7", 5)), Connection(("10.0.0.7", 5))
    if TRUSTED.told(fields, stranger) != (stranger.client, "http"):
        raise Broken("a stranger is believed")
    client, scheme = TRUSTED.told(fields, proxy)
    if client is None or not 0 <= client[1] <= 99999 or scheme not in SCHEMES.values():
        raise Broken(f"told {client} {scheme}")
