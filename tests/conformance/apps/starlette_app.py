"""Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.conformance.apps.common import LARGE, PARTS, WantedError


async def plain(request: Request) -> Response:
    return PlainTextResponse("hello")


async def form(request: Request) -> Response:
    return PlainTextResponse("hello " + str((await request.form())["name"]))


async def json(request: Request) -> Response:
    return JSONResponse(await request.json())


async def fails(request: Request) -> Response:
    raise WantedError


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def stream(request: Request) -> Response:
    return StreamingResponse(iter(PARTS), media_type="text/plain")


async def length(request: Request) -> Response:
    size = 0
    async for part in request.stream():
        size += len(part)
    return PlainTextResponse(str(size))


async def large(request: Request) -> Response:
    return Response(LARGE, media_type="application/octet-stream")


async def query(request: Request) -> Response:
    return PlainTextResponse(request.query_params["name"])


async def path(request: Request) -> Response:
    return PlainTextResponse(request.path_params["name"])


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


app = Starlette(
    routes=[
        *(Route(f"/{view.__name__}", view) for view in (plain, fails, nothing, stream, large, query)),
        *(Route(f"/{view.__name__}", view, methods=["POST"]) for view in (form, json, length)),
        Route("/path/{name}", path),
        WebSocketRoute("/echo", echo),
    ]
)
