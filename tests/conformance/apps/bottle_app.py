"""Bottle."""

from __future__ import annotations

import json as standard_json
from collections.abc import Iterator
from typing import Any

import bottle

from tests.conformance.apps.common import LARGE, PARTS, WantedError

app = bottle.Bottle()


@app.get("/plain")
def plain() -> str:
    return "hello"


@app.post("/form")
def form() -> str:
    return "hello " + bottle.request.forms.getunicode("name")


@app.post("/json")
def json() -> Any:
    bottle.response.content_type = "application/json"
    return standard_json.dumps(bottle.request.json)


@app.get("/fails")
def fails() -> str:
    raise WantedError


@app.get("/nothing")
def nothing() -> None:
    bottle.response.status = 204


@app.get("/stream")
def stream() -> Iterator[str]:
    yield from PARTS


@app.post("/length")
def length() -> str:
    return str(len(bottle.request.body.read()))


@app.get("/large")
def large() -> bytes:
    bottle.response.content_type = "application/octet-stream"
    return LARGE


@app.get("/query")
def query() -> str:
    return bottle.request.query.getunicode("name")


@app.get("/path/<name>")
def path(name: str) -> str:
    return name
