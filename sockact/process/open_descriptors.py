"""What this process has open, and code of others may close: `os.closerange(3, 256)`, as daemons do.

By then such a number may lead to another file, so each is told by what it leads to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from sockact.errors import AppError


@contextlib.contextmanager
def kept_open(descriptors: Iterable[int]) -> Iterator[None]:
    """Let code of the app run; what else it fails of comes after that.

    Raises:
        AppError: it has closed one of these descriptors.
    """
    before = {fd: found for fd in descriptors if (found := _identity(fd)) is not None}
    try:
        yield
    finally:
        if closed := sorted(fd for fd, found in before.items() if _identity(fd) != found):
            raise AppError(
                f"the app has closed descriptors of its service at its import, as os.closerange does: "
                f"{', '.join(map(str, closed))}"
            )


def _identity(fd: int) -> tuple[int, int] | None:
    """Return what a descriptor leads to; None if it is not open."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino
