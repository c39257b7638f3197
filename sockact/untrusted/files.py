"""Reads small files that somebody else may have written: whatever is there, it takes no time and no room.

A FIFO without a writer would keep who opens it waiting, and a device may have no end.
"""

from __future__ import annotations

import errno
import os
import stat

MOST = 1 << 20
"""Bytes of a file that is read whole; more than execve(2) takes of all variables of a process."""


def read(path: str | os.PathLike[str], most: int = MOST) -> bytes:
    """Return what is in a regular file.

    Raises:
        OSError: there is none, it is something else, or it has more than `most` bytes; `strerror` says it.
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
