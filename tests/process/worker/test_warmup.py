"""The request that an app must have answered before it counts as started."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.errors import AppError
from sockact.sockets.fds import Listener
from tests.support.commands import check, reload, status
from tests.support.http_client import get
from tests.support.manager import Manager
from tests.support.service import Service

ASGI = """
import asyncio, os

seen = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    seen.append(scope["path"])
    {act}
    status = int(scope["query_string"] or 200)
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": ",".join(seen).encode()}})
    {afterwards}
"""

WSGI = """
seen = []

def app(environ, start_response):
    seen.append(environ["PATH_INFO"])
    start_response(f"{environ['QUERY_STRING'] or 200} OK", [])
    return [",".join(seen).encode()]
"""

WARM = "--warmup-path=/warm?202"
SHAPES = ["--workers=0", "--workers=1"]


def write(act: str = "pass", afterwards: str = "pass") -> None:
    Path("app.py").write_text(ASGI.format(act=act, afterwards=afterwards))


def refusal(manager: Manager, listener: Listener, *options: str) -> str:
    """Start an app that does not get warm, and return why."""
    manager.sockact("app:app", "--workers=0", *options, listeners=[listener])
    assert manager.wait_exit() == AppError.exit_status
    return manager.stderr()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", [ASGI.format(act="pass", afterwards="pass"), WSGI])
def test_the_first_request_of_an_app_is_the_one_that_warms_it_up(
    manager: Manager, listener: Listener, source: str, shape: str
) -> None:
    Path("app.py").write_text(source)
    manager.sockact("app:app", shape, WARM, listeners=[listener])
    manager.wait_ready()

    assert get(listener, "/first").text == "/warm,/first"


def test_ready_is_said_when_the_app_is_done_with_it(manager: Manager, listener: Listener) -> None:
    write(afterwards="await asyncio.sleep(0.1); seen.append('afterwards')")
    manager.sockact("app:app", "--workers=0", WARM, listeners=[listener])
    manager.wait_ready()

    assert get(listener, "/first").text == "/warm,afterwards,/first"


def test_it_is_none_of_the_requests_that_are_counted(service: Service) -> None:
    write()
    service.start("--workers=0", WARM)

    assert get(service.listener, "/first").text == "/warm,/first"
    assert status(service)["requests"] == 1


@pytest.mark.parametrize(
    ("act", "path", "reason"),
    [
        ("pass", "/warm?503", "warmup_path=/warm?503: the app answered 503: expected 2xx or 3xx"),
        ("pass", "/warm?404", "warmup_path=/warm?404: the app answered 404: expected 2xx or 3xx"),
        ("raise ValueError('no database')", "/warm", "the app answered 500: expected 2xx or 3xx"),
        (
            "await asyncio.Event().wait()",
            "/warm",
            "the app was not done with it within the 0.5 s of start_timeout",
        ),
    ],
)
def test_an_app_that_does_not_get_warm_does_not_start(
    manager: Manager, listener: Listener, act: str, path: str, reason: str
) -> None:
    write(act)

    said = refusal(manager, listener, f"--warmup-path={path}", "--start-timeout=0.5s")

    assert reason in said
    assert ("ValueError: no database" in said) is ("ValueError" in act)


@pytest.mark.parametrize("shape", SHAPES)
def test_new_code_that_does_not_get_warm_is_refused(
    service: Service, shape: str, manager: Manager, listener: Listener
) -> None:
    write()
    service.start(shape, "--warmup-path=/warm", "--probation=0.1s")
    write("raise ValueError('no database')")

    status, text = reload(service)

    assert status != 0
    assert "warmup_path=/warm: the app answered 500" in text
    assert get(listener, "/first").text == "/warm,/first"


@pytest.mark.parametrize(("path", "status"), [("/warm", 0), ("/warm?503", 1)])
def test_the_check_asks_for_the_page_too(service: Service, path: str, status: int) -> None:
    write()

    found, _, err = check(service, "app:app", f"--warmup-path={path}")

    assert found == status
    assert ("the app answered 503" in err) is bool(status)
