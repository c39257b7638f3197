"""The interface by which an engine reports requests and connections, to the worker for example."""

from __future__ import annotations

from typing import Protocol


class EngineObserver(Protocol):
    """Observes an engine."""

    def on_request(self) -> None:
        """Called when a request begins."""

    def on_change(self) -> None:
        """Called when a connection has opened or closed."""


class NoObserver:
    """Ignores all events; used until an observer is set."""

    def on_request(self) -> None:
        """Do nothing."""

    def on_change(self) -> None:
        """Do nothing."""
