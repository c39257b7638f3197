"""The log of a service, process by process: each record about a request has its id, also after a reload."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import BY_DEFAULT, PATH
from tests.support.http_client import Client
from tests.support.manager import Manager

APP = """
import logging, os

CODE = os.urandom(8)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    if scope["path"] == "/fail":
        logging.getLogger("shop").warning("the till is empty")
        raise RuntimeError("no change")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": CODE})
"""

MAIN = """
import sockact
from app import app
sockact.serve(app)
"""

SETTINGS = {
    "SOCKACT_CONTROL": "none",
    "SOCKACT_PROBATION": "0.1",
    "SOCKACT_ACCESS_LOG": "yes",
    "SOCKACT_REQUEST_ID": "X-Request-ID",
    "SOCKACT_LOG_FORMAT": "json",
}


@pytest.mark.parametrize(
    "mode", ["program alone", "program supervised", "command alone", "command supervised"]
)
def test_each_record_about_a_request_has_its_id(manager: Manager, listener: Listener, mode: str) -> None:
    Path("app.py").write_text(APP)
    Path("main.py").write_text(MAIN)
    prefix = () if mode.endswith("alone") else BY_DEFAULT
    command = ("main.py",) if mode.startswith("program") else ("-m", "sockact", "run", "app:app")
    manager.start([*prefix, sys.executable, *command], [listener], **PATH, **SETTINGS)
    manager.wait_ready()
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        given = [client.get()]
        manager.signal(signal.SIGHUP)
        manager.wait_ready()
        while given[-1].body == given[0].body:  # until the connection has moved to the new code
            given.append(client.get())
            assert len(given) < 10_000
        given.append(client.get("/fail"))
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0, manager.report()

    records: list[dict[str, Any]] = [json.loads(line) for line in manager.stderr().splitlines()]
    ids = [each.headers["x-request-id"] for each in given]
    assert len(set(ids)) == len(ids)
    accesses = [each for each in records if each["logger"] == "sockact.access"]
    assert [each["request_id"] for each in accesses] == ids
    assert [each["status"] for each in accesses] == [200] * (len(ids) - 1) + [500]
    assert [each["generation"] for each in accesses] == [1] * (len(ids) - 2) + [2, 2]
    assert all(("worker" in each) is mode.endswith("supervised") for each in accesses)
    about = [each["message"] for each in records if each.get("request_id") == ids[-1]]
    assert about[:2] == ["the till is empty", "GET /fail: the app has failed"]
    (failed,) = [each for each in records if "exception" in each and each.get("request_id") == ids[-1]]
    assert failed["exception"].endswith("RuntimeError: no change")
