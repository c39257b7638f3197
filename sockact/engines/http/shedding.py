"""Hands over idle connections of a worker that has more than others, while it serves on.

Of the idle ones it takes each second or third, or as many as are wanted, in the order of their latest
requests: so busy and quiet clients go in the proportion in which they are there. If too few are idle, the
next ones go between two requests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockact.engines.http.engine_state import EngineState

OWED = 0.5
"""Seconds in which connections that become idle are still handed over; the supervisor asks again."""


class Shedding:
    """The connections that an engine owes to other workers.

    Args:
        shared: the state of the engine.
    """

    def __init__(self, shared: EngineState) -> None:
        self._shared = shared
        self._end: asyncio.TimerHandle | None = None

    def begin(self, count: int) -> int:
        """Hand over so many connections, now or between two requests; return how many can go at once."""
        shared = self._shared
        if shared.draining_since is not None:
            return 0
        idle = [each for each in shared.connections if each.can_move_now]
        idle.sort(key=lambda each: each.last_activity)
        chosen = spaced(idle, count)
        for connection in chosen:
            connection.shed()
        self._owe(count - len(chosen))
        return len(chosen)

    def _owe(self, count: int) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None
        self._shared.owed = count
        if count:
            self._end = asyncio.get_running_loop().call_later(OWED, self._owe, 0)


def spaced(items: list[Any], count: int) -> list[Any]:
    """Return so many of the items, at equal distances; all of them if there are not more."""
    if count >= len(items):
        return items
    return [items[(2 * number + 1) * len(items) // (2 * count)] for number in range(count)]
