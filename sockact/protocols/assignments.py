"""What a process tells a supervisor of our own kind, beside what any service manager understands.

These are assignments private to us, as sd_notify(3) allows; systemd ignores them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sockact.protocols.counters import Counters
from sockact.protocols.notify import Notifier, one_line

REASON = "X_SOCKACT_REASON"
IDLE = "X_SOCKACT_IDLE"
RECYCLE = "X_SOCKACT_RECYCLE"
HOOK = "X_SOCKACT_HOOK"
REQUEST = "X_SOCKACT_REQUEST"
ASK = "X_SOCKACT_ASK"
CONSENT = "X_SOCKACT_CONSENT"
VERSION = "X_SOCKACT_VERSION"
ENDING = "X_SOCKACT_ENDING"
ORDERS = "X_SOCKACT_ORDERS"
OPTIONS = "X_SOCKACT_OPTIONS"
EXITS = "X_SOCKACT_EXITS"
EXIT_SEEN = "X_SOCKACT_EXIT_SEEN"


class Reporter(Notifier):
    """The voice of a process that serves or supervises; its manager may be systemd, or one of our own."""

    def status(self, text: str, counters: Counters | None = None) -> None:
        """Show one line of text in `systemctl status`; the supervisor hears the counters, too."""
        counted = "" if counters is None else f"\n{counters.assignments()}"
        self._send(f"STATUS={one_line(text)}{counted}")

    def failing(self, reason: str) -> None:
        """Say why this process, which is not ready, gives up."""
        self._send(f"STATUS={one_line(reason)}\n{REASON}={one_line(reason)}", must=True)

    def idle(self, idle: bool) -> None:
        """Tell whether there is nothing to do for so long that the service may end."""
        self._send(f"{IDLE}={idle:d}")

    def recycle(self, reason: str) -> None:
        """Ask for a replacement of this process."""
        self._tell(RECYCLE, reason)

    def hook_failed(self, text: str) -> None:
        """Tell that a hook of the app has failed."""
        self._tell(HOOK, text)

    def request_reload(self) -> None:
        """Ask for a reload of the whole service."""
        self._tell(REQUEST, "1")

    def ask_before_reload(self) -> None:
        """Want to be asked before each reload, as SIGHUP asks; see `consent`."""
        self._tell(ASK, "1")

    def consent(self, refusal: str) -> None:
        """Answer that; empty if a reload may begin, else why not."""
        self._tell(CONSENT, refusal)

    def take_orders(self) -> None:
        """Want to be told by orders over the supply what signals would tell; see `handover`."""
        self._tell(ORDERS, "1")

    def watch_exits(self) -> None:
        """Want to be told when other workers end; see `worker_exits`."""
        self._tell(EXITS, "1")

    def exit_seen(self, pid: int) -> None:
        """Tell that the hooks for the end of a process have run."""
        self._tell(EXIT_SEEN, f"{pid}")

    def version(self, text: str) -> None:
        """Tell what the code calls itself."""
        self._tell(VERSION, text)

    def ending(self) -> None:
        """Tell that this process has drained, or failed to start, and is about to end."""
        self._tell(ENDING, "1")

    def options(self, words: Sequence[str]) -> None:
        """Tell what the code says of the settings that its supervisor goes by."""
        self._tell(OPTIONS, " ".join(words))

    def _tell(self, name: str, text: str) -> None:
        self._send(f"{name}={one_line(text)}", must=True)
