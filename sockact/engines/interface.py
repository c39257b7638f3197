"""Who wants to know what happens in an engine."""

from __future__ import annotations

from typing import Protocol


class EngineObserver(Protocol):
    """Who wants to know what happens in an engine."""

    def on_request(self) -> None:
        """Take notice of a request that begins."""

    def on_change(self) -> None:
        """Take notice of a connection that has come or gone."""


class NoObserver:
    """Nobody wants to know."""

    def on_request(self) -> None:
        """Do nothing."""

    def on_change(self) -> None:
        """Do nothing."""
