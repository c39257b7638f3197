"""Memory that processes share, by a descriptor: words of 8 bytes, of a size that nobody can change.

The size is sealed: memory that became shorter would kill those who read it (SIGBUS, mmap(2)).
"""

from __future__ import annotations

import fcntl
import mmap
import os

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def sealed_memory(name: str, size: int) -> int:
    """Return the descriptor of new memory, of `size` bytes of 0; raises OSError if there is none."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def mapped(fd: int, size: int) -> memoryview[int]:
    """Return the words of memory that `sealed_memory` has made; raises OSError if this is none."""
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS != SEALS or os.fstat(fd).st_size != size:
        raise OSError("the memory is not sealed, or of another size")
    return memoryview(mmap.mmap(fd, size)).cast("Q")
