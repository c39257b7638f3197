"""The failures of an app's hooks, in the status of its service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SHOWN, SHOWN_TIME = 10, 10.0
"""The failures of hooks that are shown at once, in so many seconds."""


class HookFailures:
    """Keeps the last failure, and shows it.

    Args:
        show: shows the status now: it may be the last that happens here.
        show_later: shows it within a second: a hostile worker may tell of thousands.

    Attributes:
        text: the last failure, as an addition to the status; empty for none.
    """

    def __init__(self, show: Callable[[], None], show_later: Callable[[], None]) -> None:
        self.text = ""
        self._show = show
        self._show_later = show_later
        self._shown: deque[float] = deque(maxlen=SHOWN)

    def heard(self, worker: int, failure: str, now: float) -> None:
        """Note a failure that a worker has told of."""
        self.text = f"; worker={worker}: {failure}"
        if len(self._shown) < SHOWN or now >= self._shown[0] + SHOWN_TIME:
            self._shown.append(now)
            self._show()
        else:
            self._show_later()
