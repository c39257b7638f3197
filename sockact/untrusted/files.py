"""Reads small files that others may have written, in bounded time and memory, whatever they are.

A FIFO without a writer would block open(2), and a device may have no end.
"""

from __future__ import annotations

import errno
import os
import stat

SIZE_LIMIT = 1 << 20
"""Bytes of a file that is read whole; more than execve(2) takes of all variables of a process."""


def read(path: str | os.PathLike[str], most: int = SIZE_LIMIT) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: there is none, it is not regular, or it has more than `most` bytes; `strerror` tells which.
    """
    # Opening a terminal that way does not make it ours.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "no regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
    return data
