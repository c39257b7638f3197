"""WebSockets of ASGI frameworks that move to the next process: in a drain their code gets `Moving`.

Frameworks know neither the event that asks for the state nor the answer: `MovableWebSockets` is between
them and the server. On other servers, and where a connection cannot move, nothing of this has an effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sockact.handover.envelope import Moving

HANDOVER = "sockact.handover"
"""Name of the extension, type of its event and of the answer, and key of a `websocket.accept` that asks for
it."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class MovableWebSockets:
    """ASGI middleware: WebSockets for which `movable` is called can move.

    Args:
        app: an ASGI app.
    """

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app."""
        extension = _extension(scope) if scope["type"] == "websocket" else None
        if extension is None:
            await self.app(scope, receive, send)
            return

        async def receive_or_move() -> Any:
            event = await receive()
            if event["type"] == HANDOVER:
                raise Moving
            return event

        async def send_and_tell(message: Any) -> None:
            if message["type"] == "websocket.accept" and "wanted" in extension:
                message = {**message, HANDOVER: True}
            await send(message)

        extension["send"] = send
        await self.app(scope, receive_or_move, send_and_tell)


def movable(scope: Scope) -> bytes | None:
    """Allow a WebSocket to move to the next process; called before it is accepted.

    In a drain the code that waits for a message gets `Moving`. It should call `hand_over`, and return.

    Args:
        scope: of the WebSocket.

    Returns:
        The state that it has brought from another process; None if it is new.

    Raises:
        RuntimeError: there is no `MovableWebSockets` around the app.
    """
    extension = _extension(scope)
    if extension is None:
        return None
    if "send" not in extension:
        raise RuntimeError("WebSockets that move: expected sockact.MovableWebSockets around the app")
    extension["wanted"] = True
    state: bytes | None = extension.get("state")
    return state


async def hand_over(scope: Scope, state: bytes = b"") -> None:
    """Give the state with which the next process goes on; called after `Moving`, as the last thing.

    Raises:
        ValueError: the state is longer than 64 KiB.
    """
    await scope["extensions"][HANDOVER]["send"]({"type": HANDOVER, "state": state})


def _extension(scope: Scope) -> Any:
    return scope.get("extensions", {}).get(HANDOVER)
