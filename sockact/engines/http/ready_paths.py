"""Answers `ready_path` and `live_path`, and refuses requests in a drain, before the app is called."""

from __future__ import annotations

from typing import Any

from sockact.config.settings import Settings
from sockact.engines.http.lifespan import App
from sockact.lifecycle.readiness import Answer, Readiness, answer


def answering(app: App, readiness: Readiness, settings: Settings) -> App:
    """Return an app that answers these requests itself, and passes all others to `app`."""
    refuses = settings.drain_mode == "refuse"
    if not (settings.ready_path or settings.live_path or refuses):
        return app

    def word_for(path: str) -> str:
        if path == settings.ready_path:
            return readiness.word
        if path == settings.live_path:
            return "live"
        return "draining" if refuses and readiness.refusing else ""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (word := word_for(scope["path"])):
            await _send(answer(word), scope, send)
        else:
            await app(scope, receive, send)

    return answered


async def _send(reply: Answer, scope: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
