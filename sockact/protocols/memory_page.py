"""Shared memory with a layout, which a process keeps and passes on by a name."""

from __future__ import annotations

import os
from typing import ClassVar, Self

from sockact.sockets.fds import Kind, Listener
from sockact.system.sealed_memory import mapped, sealed_memory


class MemoryPage:
    """The memory; its first word is the version of its layout.

    Args:
        fd: the memory; owned from here on.

    Attributes:
        NAME: the name under which it is passed.
        SIZE: its size in bytes.
        VERSION: the version of its layout.
        fd: the memory.

    Raises:
        OSError: it is none of this kind, or of another layout; the descriptor stays open.
    """

    NAME: ClassVar[str]
    SIZE: ClassVar[int]
    VERSION: ClassVar[int]

    def __init__(self, fd: int) -> None:
        self._words = mapped(fd, self.SIZE)
        if (layout := self._words[0]) != self.VERSION:
            kind = self.NAME.removeprefix("sockact.")
            raise OSError(f"{kind} of layout {layout}: expected {self.VERSION}")
        self.fd = fd

    @classmethod
    def _made(cls, *header: int) -> Self:
        """Return new memory, with these words behind its version, and 0 in all others."""
        fd = sealed_memory(cls.NAME, cls.SIZE)
        try:
            words = mapped(fd, cls.SIZE)
            for place, number in enumerate((cls.VERSION, *header)):
                words[place] = number
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def passed(self) -> Listener:
        """Return a copy of the descriptor, as it is passed to another process."""
        return Listener(self.NAME, os.dup(self.fd), Kind.OTHER)

    def close(self) -> None:
        """Close the memory; nothing is read any more."""
        self._words.release()  # mmap has a descriptor of its own
        os.close(self.fd)
