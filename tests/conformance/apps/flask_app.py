"""Flask."""

from __future__ import annotations

import flask

from tests.conformance.apps.common import LARGE, PARTS, WantedError

app = flask.Flask(__name__)


@app.get("/plain")
def plain() -> str:
    return "hello"


@app.post("/form")
def form() -> str:
    return "hello " + flask.request.form["name"]


@app.post("/json")
def json() -> flask.Response:
    return flask.jsonify(flask.request.json)


@app.get("/fails")
def fails() -> str:
    raise WantedError


@app.get("/nothing")
def nothing() -> tuple[str, int]:
    return "", 204


@app.get("/stream")
def stream() -> flask.Response:
    return flask.Response(iter(PARTS), mimetype="text/plain")


@app.post("/length")
def length() -> str:
    return str(len(flask.request.get_data()))


@app.get("/large")
def large() -> flask.Response:
    return flask.Response(LARGE, mimetype="application/octet-stream")


@app.get("/query")
def query() -> str:
    return flask.request.args["name"]


@app.get("/path/<name>")
def path(name: str) -> str:
    return name
