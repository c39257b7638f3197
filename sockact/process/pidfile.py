"""The file with the PID of the main process, for other managers than systemd.

It exists while the service does, through every reload, and is always complete. systemd needs none, as it
has started the main process itself.

Others may write to the folder, as to /tmp. So the file is made under a name that nobody can have taken, and
replaces only a file of our own; a link that is found there later is not followed, a FIFO not waited for.
"""

from __future__ import annotations

import contextlib
import os
import stat

from sockact.errors import SettingsError


class PidFile:
    """This process's PID in a file; a relative path counts from the present directory."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        new = f"{self._path}.{os.urandom(8).hex()}"
        try:
            _require_ours(self._path)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                with open(fd, "wb", buffering=0) as file:
                    file.write(b"%d\n" % os.getpid())
                    self._ours = _identity(os.fstat(fd))
                os.rename(new, self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(new)
                raise
        except OSError as error:
            raise SettingsError(f"pid_file={path!r} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Remove it, unless another file is there by now, of another process perhaps."""
        with contextlib.suppress(OSError):
            if _identity(os.lstat(self._path)) == self._ours:
                os.unlink(self._path)


def _require_ours(path: str) -> None:
    """Raise OSError if a file is there that no process of this user can have left as its PID file."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "something is there that is no regular file")
    if found.st_uid != os.geteuid():
        raise OSError(
            0, f"a file of uid {found.st_uid} is there: expected none, or one of uid {os.geteuid()}"
        )


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    # The time, too: the number of a removed file may be given to the next one.
    return found.st_dev, found.st_ino, found.st_mtime_ns
