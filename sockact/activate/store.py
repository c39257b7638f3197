"""A service manager's descriptor store: what a program stores, the next one gets.

    FDSTORE=1          store the descriptors of this notification, under FDNAME=, or else as "stored"
    FDSTOREREMOVE=1    close all that are stored under FDNAME=
    FDPOLL=0           keep them also when nothing is at their other end any more

Source: sd_notify(3); `service_add_fd_store` in systemd's src/core/service.c.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Mapping

from sockact.protocols.notify import Notification
from sockact.protocols.notify.wire import check_name
from sockact.sockets import fds
from sockact.sockets.fds import Listener

STORED = "stored"
"""The name of descriptors without one, or with one that cannot be."""


class DescriptorStore:
    """The stored descriptors, which this process owns.

    Args:
        most: as many are stored; further ones are closed.

    Attributes:
        listeners: the descriptors, the newest first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.listeners: list[Listener] = []
        self._hangups = select.epoll()

    def fileno(self) -> int:
        """Return the descriptor to wait on until `drop_hung_up` has something to do."""
        return self._hangups.fileno()

    def close(self) -> None:
        """Close everything."""
        self._close(self.listeners)
        self._hangups.close()

    def hear(self, message: Notification) -> str:
        """Do as a notification says; its descriptors are stored or closed.

        Returns:
            What was done, in words; empty for nothing.
        """
        said = message.assignments
        if said.get("FDSTOREREMOVE") == "1":
            message.close()
            return self._remove(said.get("FDNAME", ""))
        if not message.stored:
            return ""
        name = _name(said)
        results = [self._add(fd, name, polled=said.get("FDPOLL") != "0") for fd in message.stored]
        refused = results.count(False)
        full = f"; {refused} more did not fit" if refused else ""
        return f"stores {len(results) - refused} as {name}, {len(self.listeners)} in all{full}"

    def drop_hung_up(self) -> int:
        """Close those at whose other end nothing is any more; return how many."""
        found = {fd for fd, _ in self._hangups.poll(0)}
        return self._close([each for each in self.listeners if each.fd in found])

    def _add(self, fd: int, name: str, *, polled: bool) -> bool:
        listener = fds.describe(fd, name)
        if any(_are_one(listener, each) for each in self.listeners):
            listener.close()
            return True
        if len(self.listeners) >= self._most:
            listener.close()
            return False
        self.listeners.insert(0, listener)
        if polled:
            with contextlib.suppress(PermissionError):  # a file, which cannot hang up
                self._hangups.register(fd, 0)  # EPOLLHUP and EPOLLERR are always reported
        return True

    def _remove(self, name: str) -> str:
        removed = self._close([each for each in self.listeners if each.name == name])
        return f"removes {removed} stored as {name}, {len(self.listeners)} remain" if removed else ""

    def _close(self, listeners: list[Listener]) -> int:
        closing = list(listeners)
        for listener in closing:
            self.listeners.remove(listener)
            # Not left to close(2): the program may have a copy, and epoll(7) would go on to report it.
            with contextlib.suppress(FileNotFoundError, PermissionError):  # it is not registered
                self._hangups.unregister(listener.fd)
            listener.close()
        return len(closing)


def _name(said: Mapping[str, str]) -> str:
    name = said.get("FDNAME", "")
    try:
        check_name(name)
    except ValueError:
        return STORED
    return name


def _are_one(one: Listener, other: Listener) -> bool:
    """Return whether two descriptors are of one socket; a file may have been opened twice."""
    if one.sock is None or other.sock is None:
        return False
    return os.path.samestat(os.fstat(one.fd), os.fstat(other.fd))
