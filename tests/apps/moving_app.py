"""WebSockets that move, with numbers both ways: tests/programs/numbered.py is their client.

Each message is echoed with the number of messages so far, and another number is sent after each pause:
20 ms, or the seconds in the query. Both counts are the state. /forgets loses a message from its state,
/stays does not move; HTTP tells the version.
"""

import asyncio
import os

VERSION = "1"
HANDOVER = "sockact.handover"


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await serve(scope, receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{VERSION} {os.getpid()}".encode()})
    else:
        raise NotImplementedError(scope["type"])


async def serve(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", HANDOVER: scope["path"] != "/stays"})
    state = scope["extensions"].get(HANDOVER, {}).get("state", b"0 0")
    echoed, pushed = map(int, state.split())
    pause = float(scope["query_string"] or 0.02)
    clock = asyncio.get_running_loop().time
    due = clock() + pause
    receiving = asyncio.ensure_future(receive())
    while True:
        done, _ = await asyncio.wait([receiving], timeout=max(due - clock(), 0))
        if not done:
            pushed += 1
            due = clock() + pause
            await send({"type": "websocket.send", "text": f"pushed {pushed}"})
            continue
        event = receiving.result()
        if event["type"] == HANDOVER:
            await send(
                {"type": HANDOVER, "state": b"%d %d" % (echoed - (scope["path"] == "/forgets"), pushed)}
            )
            return
        if event["type"] == "websocket.disconnect":
            return
        echoed += 1
        await send({"type": "websocket.send", "text": f"echoed {echoed} {event['text']}"})
        receiving = asyncio.ensure_future(receive())
