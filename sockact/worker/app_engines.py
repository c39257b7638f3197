"""The engine of each kind of app: made by a worker, and imported ahead by a template."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from sockact.apps import kinds
from sockact.apps.assignment import Mount
from sockact.apps.kinds import EngineType
from sockact.config.settings import Settings
from sockact.engines.certificates import Tls
from sockact.engines.group import Served
from sockact.lifecycle.readiness import Readiness
from sockact.sockets.fds import Listener

_MODULES = {
    EngineType.HTTP: "sockact.engines.http.engine",
    EngineType.STREAM: "sockact.engines.handlers.stream",
    EngineType.DATAGRAM: "sockact.engines.handlers.datagram",
}
_CALLS = {"asgi": "sockact.engines.http.asgi", "wsgi": "sockact.engines.http.wsgi"}
"""The modules that `served` and its engine import."""


def served(mount: Mount, settings: Settings, readiness: Readiness, tls: Tls | None, code: str) -> Served:
    """Return the engine of an app; imports that one only, for a worker starts faster so."""
    app, kind, listeners = mount.app, mount.kind, mount.listeners
    match mount.engine:
        case EngineType.HTTP:
            from sockact.engines.http.engine import HttpEngine

            http = HttpEngine(app, kind, listeners, settings, readiness, tls)
            if settings.reload_page:
                http.answer_reload_page(code)
            return Served(http, listeners, http)
        case EngineType.STREAM:
            from sockact.engines.handlers.stream import StreamEngine

            stream = StreamEngine(app, kind, listeners, settings)
            return Served(stream, listeners, stream)
        case EngineType.DATAGRAM:
            from sockact.engines.handlers.datagram import DatagramEngine

            return Served(DatagramEngine(app, kind, listeners, settings), listeners)


def import_ahead(kind: str, listeners: Sequence[Listener]) -> None:
    """Import what `served` will, for an app of this kind."""
    import_module(_MODULES[kinds.engine_for(kind, listeners)])
    if kind in _CALLS:
        import_module(_CALLS[kind])
