"""The one tree of errors; each class carries the exit status with which it ends the process.

The numbers are those of sysexits.h, as systemd.exec(5) prints them by name in `systemctl status`.
A message says what was found, what was expected, and where. Only `cli`, the processes and the
conductor catch them.
"""

from __future__ import annotations


class SockactError(Exception):
    """Anything sockact gives up on; on its own, a fault of sockact itself (EX_SOFTWARE)."""

    exit_status = 70


class AppError(SockactError):
    """The app cannot be imported, is not an app, or failed to start."""

    exit_status = 1


class ReloadRefused(SockactError):  # noqa: N818 - a verdict on the new code, no fault
    """The new code did not start; the old code is untouched and goes on serving.

    Attributes:
        found: the exit status with which the new code has ended; 0 if it has not.
    """

    exit_status = 1

    def __init__(self, text: str, found: int = 0) -> None:
        super().__init__(text)
        self.found = found


class HookTimeout(SockactError):  # noqa: N818 - the word that other programs have for it
    """A hook of the app did not end within its time."""

    exit_status = 1


class UsageError(SockactError):
    """A command line that cannot be understood (EX_USAGE)."""

    exit_status = 64


class UnavailableError(SockactError):
    """A socket or a service that is needed is not to be had (EX_UNAVAILABLE)."""

    exit_status = 69


class SettingsError(SockactError):
    """A setting is unknown or has a value that cannot be used (EX_CONFIG)."""

    exit_status = 78


class ActivationError(SockactError):
    """What the service manager passed is not what sd_listen_fds(3) describes (EX_CONFIG)."""

    exit_status = 78


def error_of_status(exit_status: int) -> type[SockactError]:
    """Return what a worker that ended so has failed of, for its supervisor to end in the same way."""
    kinds = (UsageError, UnavailableError, SettingsError)
    return next((kind for kind in kinds if kind.exit_status == exit_status), AppError)
