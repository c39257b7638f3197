"""The file with the PID of the main process, for whoever is no systemd: it exists while the service lives.

It is there whole or not at all, and stays through every reload. systemd needs none, as it has started the
main process itself.
"""

from __future__ import annotations

import contextlib
import os

from sockact.errors import SettingsError


class PidFile:
    """This process's PID in a file; a relative path counts from the present directory."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        new = f"{self._path}.{os.getpid()}"
        try:
            # Whoever may write to the folder must not be able to lead us to another file by a link.
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with open(fd, "w") as file:
                file.write(f"{os.getpid()}\n")
            os.rename(new, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise SettingsError(f"pid_file={path!r} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Remove it, unless it is another process's by now."""
        with contextlib.suppress(OSError, ValueError):
            with open(self._path) as file:
                owner = int(file.read())
            if owner == os.getpid():
                os.unlink(self._path)
