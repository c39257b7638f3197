"""The servers of this process on the listeners on which sockact itself answers."""

from __future__ import annotations

from sockact.config.settings import Settings
from sockact.lifecycle.readiness import Tellable
from sockact.process.agent import agent_server
from sockact.process.health import health_server
from sockact.process.launch import Process
from sockact.process.metrics import Overview, metrics_server
from sockact.process.own_server import OwnServer
from sockact.sockets.fds import AGENT, HEALTH, METRICS


def own_servers(
    process: Process, readiness: Tellable, settings: Settings, overview: Overview
) -> list[OwnServer]:
    """Return the servers, not yet open; one without listeners does nothing.

    Args:
        process: this process, which has the listeners.
        readiness: the readiness of this service.
        settings: name more paths.
        overview: returns the overview of this service.

    Raises:
        ActivationError: a library is missing for one of them.
    """
    sockets, app = process.sockets, process.app_metrics
    return [
        health_server(sockets.named(HEALTH), readiness, settings),
        agent_server(sockets.named(AGENT), readiness),
        metrics_server(sockets.named(METRICS), overview, tuple if app is None else app.collect),
    ]
