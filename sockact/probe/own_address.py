"""Addresses of this machine: others are loaded only by those who say that they may."""

import ipaddress
import socket

from .wire import Address


def is_own(address: Address) -> bool:
    """Return whether an address is this machine's: a Unix socket, of the loopback, or of an interface.

    The kernel talks to an address of its own from that address, as connect(2) on a datagram socket shows
    without sending anything. A secondary address of an interface may count as foreign. Rejected: bind(2),
    which with net.ipv4.ip_nonlocal_bind takes any address for its own.
    """
    if address.family is socket.AF_UNIX:
        return True
    host = ipaddress.ip_address(str(address.target[0]).partition("%")[0])
    if host.is_loopback or host.is_unspecified:
        return True
    with socket.socket(address.family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(address.target)
        except OSError:
            return False
        return ipaddress.ip_address(asking.getsockname()[0].partition("%")[0]) == host
