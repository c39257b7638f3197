"""FastAPI."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, Form, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

from tests.conformance.apps.common import LARGE, PARTS, WantedError

app = FastAPI()


@app.api_route("/plain", methods=["GET", "HEAD"], response_class=PlainTextResponse)
async def plain() -> str:
    return "hello"


@app.post("/form", response_class=PlainTextResponse)
async def form(name: Annotated[str, Form()]) -> str:
    return f"hello {name}"


@app.post("/json")
async def json(value: Annotated[Any, Body()]) -> Any:
    return value


@app.get("/fails")
def fails() -> str:
    raise WantedError


@app.get("/nothing", status_code=204)
async def nothing() -> None:
    pass


@app.get("/stream")
def stream() -> StreamingResponse:
    return StreamingResponse(iter(PARTS), media_type="text/plain")


@app.post("/length", response_class=PlainTextResponse)
async def length(request: Request) -> str:
    return str(len(await request.body()))


@app.get("/large")
def large() -> Response:
    return Response(LARGE, media_type="application/octet-stream")


@app.get("/query", response_class=PlainTextResponse)
def query(name: str) -> str:  # not async: in a thread of the framework's
    return name


@app.get("/path/{name}", response_class=PlainTextResponse)
async def path(name: str) -> str:
    return name


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
