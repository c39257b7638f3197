"""Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator

import quart

from tests.conformance.apps.common import LARGE, PARTS, WantedError

app = quart.Quart(__name__)


@app.get("/plain")
async def plain() -> str:
    return "hello"


@app.post("/form")
async def form() -> str:
    return "hello " + (await quart.request.form)["name"]


@app.post("/json")
async def json() -> quart.Response:
    return quart.jsonify(await quart.request.get_json())


@app.get("/fails")
async def fails() -> str:
    raise WantedError


@app.get("/nothing")
async def nothing() -> tuple[str, int]:
    return "", 204


@app.get("/stream")
async def stream() -> tuple[AsyncIterator[bytes], dict[str, str]]:
    async def parts() -> AsyncIterator[bytes]:
        for part in PARTS:
            yield part.encode()

    return parts(), {"Content-Type": "text/plain"}


@app.post("/length")
async def length() -> str:
    return str(len(await quart.request.get_data()))


@app.get("/large")
async def large() -> quart.Response:
    return quart.Response(LARGE, mimetype="application/octet-stream")


@app.get("/query")
async def query() -> str:
    return quart.request.args["name"]


@app.get("/path/<name>")
async def path(name: str) -> str:
    return name


@app.websocket("/echo")
async def echo() -> None:
    while True:
        await quart.websocket.send(await quart.websocket.receive())
