"""The examples of docs/websockets.md and units/example: WebSockets of frameworks over a reload."""

from __future__ import annotations

import re

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.commands import reload_all
from tests.support.manager import CHECKOUT, LIMIT
from tests.support.service import Service

PAGE = (CHECKOUT / "docs/websockets.md").read_text()
FASTAPI, ASGI = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STARLETTE = (CHECKOUT / "units/example/counter.py").read_text()
SUPERVISED = ("--workers=1", "--probation=0.1s")


def opened(service: Service, path: str) -> ClientConnection:
    return connect(f"ws://{service.listener.address}{path}", open_timeout=LIMIT, close_timeout=LIMIT)


def ask(client: ClientConnection, text: str) -> str:
    client.send(text)
    return str(client.recv(LIMIT)).partition(",")[0]


@pytest.mark.parametrize(
    ("code", "path"),
    [(FASTAPI, "/count"), (STARLETTE, "/"), (ASGI, "/")],
    ids=["FastAPI", "Starlette", "ASGI"],
)
def test_the_example_goes_on_counting_over_reloads(service: Service, code: str, path: str) -> None:
    (service.directory / "app.py").write_text(code)
    pid = service.start(*SUPERVISED)
    with opened(service, path) as client:
        for number in range(1, 4):
            assert ask(client, "a") == f"{2 * number - 1} a"
            client.send("b")
            reload_all(service, pid)
            assert str(client.recv(LIMIT)).partition(",")[0] == f"{2 * number} b"


def test_without_movable_it_is_closed_as_ever(service: Service) -> None:
    (service.directory / "app.py").write_text(FASTAPI.replace("sockact.movable(websocket.scope)", "0"))
    pid = service.start(*SUPERVISED)
    with opened(service, "/count") as client:
        assert ask(client, "a") == "1 a"
        reload_all(service, pid)

        with pytest.raises(ConnectionClosedError, match="1012"):
            client.recv(LIMIT)


def test_without_the_middleware_an_error_says_so(service: Service) -> None:
    (service.directory / "app.py").write_text(FASTAPI.replace("app.add_middleware", "(lambda _: None)"))
    service.start()
    with pytest.raises(InvalidStatus, match="HTTP 500"), opened(service, "/count"):
        pass

    assert "expected sockact.MovableWebSockets around the app" in service.manager.stderr()
