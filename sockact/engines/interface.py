"""Who wants to know what happens in an engine."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Who wants to know what happens in an engine."""

    def requested(self) -> None:
        """Take notice of a request that begins."""

    def changed(self) -> None:
        """Take notice of a connection that has come or gone."""


class Unwatched:
    """Nobody wants to know."""

    def requested(self) -> None:
        """Do nothing."""

    def changed(self) -> None:
        """Do nothing."""
