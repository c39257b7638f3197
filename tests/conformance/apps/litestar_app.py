"""Litestar."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Litestar, MediaType, Request, Response, get, post, route, websocket_listener
from litestar.enums import HttpMethod, RequestEncodingType
from litestar.params import Body
from litestar.response import Stream

from tests.conformance.apps.common import LARGE, PARTS, WantedError


@route("/plain", http_method=[HttpMethod.GET, HttpMethod.HEAD], media_type=MediaType.TEXT)
async def plain() -> str:
    return "hello"


@post("/form", media_type=MediaType.TEXT, status_code=200)
async def form(data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]) -> str:
    return f"hello {data['name']}"


@post("/json", status_code=200)
async def json(data: dict[str, Any]) -> dict[str, Any]:
    return data


@get("/fails")
async def fails() -> str:
    raise WantedError


@get("/nothing", status_code=204)
async def nothing() -> None:
    pass


@get("/stream")
async def stream() -> Stream:
    return Stream(iter(PARTS), media_type=MediaType.TEXT)


@post("/length", media_type=MediaType.TEXT, status_code=200, request_max_body_size=None)
async def length(request: Request[Any, Any, Any]) -> str:
    return str(len(await request.body()))


@get("/large")
async def large() -> Response[bytes]:
    return Response(LARGE, media_type="application/octet-stream")


@get("/query", media_type=MediaType.TEXT, sync_to_thread=True)
def query(name: str) -> str:
    return name


@get("/path/{name:str}", media_type=MediaType.TEXT)
async def path(name: str) -> str:
    return name


@websocket_listener("/echo")
async def echo(data: str) -> str:
    return data


app = Litestar([plain, form, json, fails, nothing, stream, length, large, query, path, echo])
