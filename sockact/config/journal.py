"""The journal's socket: one datagram for each record, as name and value of each field.

Not by sd_journal_sendv(3), which waits while the journal takes nothing: that is so when it hangs, is
restarted or has too much to do, and all requests would wait with it.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

JOURNAL = "/run/systemd/journal/socket"

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_UTF_8 = ("utf-8", "backslashreplace")
_TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)


class JournalSocket:
    """A socket by which records are sent to the journal, whichever process listens there by then."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._inode = 0

    def send(self, fields: Mapping[str, str]) -> None:
        """Send a record at once.

        Args:
            fields: by name, in capital letters.

        Raises:
            BlockingIOError: the journal takes nothing at the moment.
            OSError: there is no journal, or it cannot be reached.
        """
        data = packed(fields)
        sock = self._opened()
        try:
            sock.sendto(data, JOURNAL)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            _send_in_file(sock, data)

    def close(self) -> None:
        """Close the socket; the next record opens another one."""
        if (sock := self._kept()) is not None:
            sock.close()
        self._sock = None

    def _opened(self) -> socket.socket:
        if (sock := self._kept()) is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._sock, self._inode = sock, os.fstat(sock.fileno()).st_ino
        return sock

    def _kept(self) -> socket.socket | None:
        """Return the socket; None if the app has closed it, and may have the number for its own by now."""
        if (sock := self._sock) is None:
            return None
        try:
            if os.fstat(sock.fileno()).st_ino == self._inode:
                return sock
        except OSError:
            pass
        sock.detach()
        return None


def packed(fields: Mapping[str, str]) -> bytes:
    """Return a record as it is sent; a line end in a value cannot begin another field."""
    if all("\n" not in text for text in fields.values()):  # as nearly always, and four times as fast
        return "".join([f"{name}={text}\n" for name, text in fields.items()]).encode(*_UTF_8)
    parts = []
    for name, text in fields.items():
        value = text.encode(*_UTF_8)
        if b"\n" in value:
            parts.append(b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(value)), value))
        else:
            parts.append(b"%b=%b\n" % (name.encode(), value))
    return b"".join(parts)


def _send_in_file(sock: socket.socket, data: bytes) -> None:
    """Send a record that is too long for a datagram, in memory that nobody can change any more."""
    memory = os.memfd_create("record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(memory, "wb") as file:
        file.write(data)
        file.flush()
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        # socket.send_fds ignores the address.
        descriptors = struct.pack("i", memory)
        sock.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)], 0, JOURNAL)
