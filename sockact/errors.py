"""The errors of sockact; each class has the exit status with which it ends the process.

The numbers are those of sysexits.h, which `systemctl status` shows by name (systemd.exec(5)). A message
says what was found, what was expected, and where. Only `cli`, the processes and the conductor catch them.
"""

from __future__ import annotations

from collections.abc import Iterable


class SockactError(Exception):
    """The base of all errors; raised itself, a fault in sockact (EX_SOFTWARE).

    Attributes:
        logged: whether another process has logged the reason.
    """

    exit_status = 70
    logged = False


class AppError(SockactError):
    """The app cannot be imported, is not an app, or failed to start."""

    exit_status = 1


class ReloadRefused(SockactError):  # noqa: N818 - a result, no fault
    """The new code did not start; the old code is untouched and goes on serving.

    Attributes:
        found: the exit status of the new code; 0 if it has not ended.
    """

    exit_status = 1

    def __init__(self, text: str, found: int = 0) -> None:
        super().__init__(text)
        self.found = found


class PauseFailed(SockactError):  # noqa: N818 - a result, no fault
    """The service cannot be paused, or its pause has ended before all was done."""

    exit_status = 1


class HookTimeout(SockactError):  # noqa: N818 - the name in other programs
    """A hook of the app did not end within its timeout."""

    exit_status = 1


class UsageError(SockactError):
    """A command line or a call is wrong (EX_USAGE)."""

    exit_status = 64


class UnavailableError(SockactError):
    """A socket or service that is needed is not available (EX_UNAVAILABLE)."""

    exit_status = 69


class SettingsError(SockactError):
    """A setting is unknown or has an invalid value (EX_CONFIG)."""

    exit_status = 78


class UnitsError(SockactError):
    """Units for an app could not work, or would replace other ones (EX_CONFIG)."""

    exit_status = 78


class ActivationError(SockactError):
    """The service manager passed something that sd_listen_fds(3) does not describe (EX_CONFIG)."""

    exit_status = 78


def error_of_status(exit_status: int) -> type[SockactError]:
    """Return the error class for a worker's exit status, so that its supervisor ends with the same."""
    kinds = (UsageError, UnavailableError, SettingsError)
    return next((kind for kind in kinds if kind.exit_status == exit_status), AppError)


def similar(word: str, choices: Iterable[str]) -> str:
    """Return the end of a message: a question, if a choice is similar to the word; else nothing."""
    import difflib  # kept out of the supervisor's memory

    close = difflib.get_close_matches(word, list(choices), 1)
    return f": did you mean {close[0]!r}?" if close else ""
