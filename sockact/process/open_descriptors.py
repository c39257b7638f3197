"""Detects that an app has closed descriptors of its process: `os.closerange(3, 256)`, as daemons do.

By then such a number may lead to another file, so each descriptor is recognised by the file it leads to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from sockact.errors import AppError


@contextlib.contextmanager
def kept_open(descriptors: Iterable[int]) -> Iterator[None]:
    """Check after the body, which runs code of the app, that these descriptors are still open.

    Raises:
        AppError: one of them is closed; this precedes whatever else the body has raised.
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
    """Return the device and inode of the file that a descriptor leads to; None if it is not open."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino
