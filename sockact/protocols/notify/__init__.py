"""Both ends of sd_notify(3): `Notifier` tells a service manager, `NotifySocket` is one.

The wire is one datagram of at most 4096 bytes to the Unix socket $NOTIFY_SOCKET: lines of
`NAME=value` in UTF-8. The kernel stamps the sender's PID on it (SCM_CREDENTIALS), and nothing
else tells the sender.

Rule of this package: seconds inside, microseconds (`_USEC`) on the wire only.
"""

from __future__ import annotations

from sockact.protocols.notify.notifier import Notifier
from sockact.protocols.notify.notify_socket import Notification, NotifySocket
from sockact.protocols.notify.wire import (
    DATAGRAM_LIMIT,
    STATUS_LIMIT,
    one_line,
    parse,
    usec,
    watchdog_interval,
)

__all__ = [
    "DATAGRAM_LIMIT",
    "STATUS_LIMIT",
    "Notification",
    "Notifier",
    "NotifySocket",
    "one_line",
    "parse",
    "usec",
    "watchdog_interval",
]
