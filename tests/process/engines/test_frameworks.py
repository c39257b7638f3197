"""Real frameworks: told apart, and served."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, get
from tests.support.manager import Manager

FLASK = """
import flask
app = flask.Flask(__name__)

@app.post("/echo")
def echo():
    return "hello " + flask.request.form["name"]
"""

DJANGO = """
from django.conf import settings
from django.core.{interface} import get_{interface}_application
from django.http import HttpResponse
from django.urls import path

def echo(request):
    return HttpResponse("hello " + request.POST["name"])

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
urlpatterns = [path("echo", echo)]
app = get_{interface}_application()
"""

STARLETTE = """
import contextlib
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from urllib.parse import parse_qs

@contextlib.asynccontextmanager
async def lifespan(app):
    {startup}
    yield {{"greeting": "hello "}}

async def echo(request):
    form = parse_qs((await request.body()).decode())
    return PlainTextResponse(request.state.greeting + form["name"][0])

app = Starlette(routes=[Route("/echo", echo, methods=["POST"])], lifespan=lifespan)
"""

FASTAPI = """
import contextlib
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from urllib.parse import parse_qs

@contextlib.asynccontextmanager
async def lifespan(app):
    {startup}
    yield {{"greeting": "hello "}}

app = FastAPI(lifespan=lifespan)

@app.post("/echo")
async def echo(request: Request) -> PlainTextResponse:
    form = parse_qs((await request.body()).decode())
    return PlainTextResponse(request.state.greeting + form["name"][0])
"""


@pytest.mark.parametrize(
    "source",
    [
        FLASK,
        DJANGO.format(interface="wsgi"),
        DJANGO.format(interface="asgi"),
        STARLETTE.format(startup="pass"),
        FASTAPI.format(startup="pass"),
    ],
    ids=["Flask", "Django WSGI", "Django ASGI", "Starlette", "FastAPI"],
)
def test_an_app_of_a_framework_is_told_and_served(
    manager: Manager, listener: Listener, source: str
) -> None:
    Path("app.py").write_text(source)
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = get(listener, "/echo", method="POST", body=b"name=w%C3%B6rld", headers=headers)
    assert (answer.status, answer.text) == (200, "hello wörld")
    assert get(listener, "/missing").status == 404
    assert "Traceback" not in manager.stderr()


@pytest.mark.parametrize("source", [STARLETTE, FASTAPI], ids=["Starlette", "FastAPI"])
def test_a_lifespan_of_a_framework_that_fails_is_a_failed_start(
    manager: Manager, listener: Listener, source: str
) -> None:
    Path("app.py").write_text(source.format(startup="raise RuntimeError('no database ✓')"))
    manager.sockact("app:app", listeners=[listener])

    assert manager.wait_exit() == 1
    assert manager.said("READY") == []
    assert manager.said("STATUS")[-1] == "the app's startup failed: RuntimeError: no database ✓"
    assert "in lifespan" in manager.stderr()


SSE = """
import asyncio
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

async def ticks():
    while True:
        yield {"data": "tick"}
        await asyncio.sleep(0.05)

app = Starlette(routes=[Route("/", lambda request: EventSourceResponse(ticks()))])
"""


def test_the_streams_of_sse_starlette_end_by_themselves_in_a_drain(
    manager: Manager, listener: Listener
) -> None:
    Path("app.py").write_text(SSE)
    manager.sockact("app:app", "--drain-timeout=none", listeners=[listener])
    manager.wait_ready()
    assert listener.sock
    with Client(listener.sock.getsockname()) as client:
        client.ask("/")
        assert client.read_head().status == 200
        assert client.read_chunk().startswith(b"data: tick")

        manager.signal(signal.SIGTERM)

        client.read_bytes(1_000_000)  # to the end
    assert manager.wait_exit() == 0
