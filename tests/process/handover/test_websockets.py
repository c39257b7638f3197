"""WebSockets that outlive the process which accepted them."""

from __future__ import annotations

import contextlib
import shutil
import signal

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from sockact.handover.transfer import CONNECTION
from sockact.system.signals import FOLLOWED
from tests.process.handover.test_store import restart
from tests.support.commands import reload, reload_all, status
from tests.support.manager import LIMIT, wait_until
from tests.support.numbered import APP, Numbered, assert_nothing_lost
from tests.support.service import MODES, Service

COUNT = 20
WORKERS = ("--workers=2", "--probation=0.1s")


@pytest.fixture
def moving(service: Service) -> Service:
    """Give the app whose WebSockets move, as a service that is not started yet."""
    shutil.copy(APP, service.directory / "app.py")
    return service


def url(service: Service, path: str = "/") -> str:
    return f"ws://{service.listener.address}{path}"


def reload_in(service: Service, mode: tuple[str, ...], pid: int) -> None:
    if mode:
        reload_all(service, pid)
    else:
        assert reload(service)[0] == 0


@MODES
def test_numbers_go_on_over_reloads(moving: Service, mode: tuple[str, ...]) -> None:
    pid = moving.start(*mode)
    with Numbered(url(moving), COUNT) as clients:
        for _ in range(3):
            reload_in(moving, mode, pid)
        report = clients.report()

    assert_nothing_lost(report)


@MODES
def test_numbers_go_on_over_restarts(moving: Service, mode: tuple[str, ...]) -> None:
    moving.start(*mode, FDSTORE="100", PATH="")
    with Numbered(url(moving), COUNT) as clients:
        for _ in range(2):
            restart(moving, *mode)
        report = clients.report()

    assert_nothing_lost(report)


def test_numbers_go_on_over_reloads_of_several_workers(moving: Service) -> None:
    pid = moving.start(*WORKERS)
    with Numbered(url(moving), COUNT) as clients:
        for _ in range(2):
            reload_all(moving, pid)
        wait_until(lambda: counted(moving, "in_flight") == counted(moving, "connections") == COUNT)
        report = clients.report()

    assert_nothing_lost(report)


def counted(service: Service, what: str) -> int:
    return sum(row[what] for row in status(service)["workers"])


@MODES
def test_a_state_that_forgets_a_message_is_seen(moving: Service, mode: tuple[str, ...]) -> None:
    pid = moving.start(*mode)
    with Numbered(url(moving, "/forgets"), COUNT) as clients:
        reload_in(moving, mode, pid)
        report = clients.report()

    assert report["failures"]["echoed: twice"] >= COUNT


@MODES
def test_a_websocket_that_does_not_move_is_seen(moving: Service, mode: tuple[str, ...]) -> None:
    pid = moving.start(*mode)
    with Numbered(url(moving, "/stays"), COUNT) as clients:
        reload_in(moving, mode, pid)
        report = clients.report()

    assert report["failures"] == {"closed: 1012": COUNT}


@MODES
def test_a_stop_asks_no_app_for_its_state(moving: Service, mode: tuple[str, ...]) -> None:
    with (moving.directory / "app.py").open("a") as app:
        app.write(NOTES_EVENTS)
    moving.start(*mode, "--linger=20s", "--drain-timeout=20s")
    with opened(moving) as client:
        client.recv(LIMIT)
        moving.manager.signal(signal.SIGTERM)

        assert close_code(client) == 1012
    assert moving.manager.wait_exit() == 0
    assert (moving.directory / "events").read_text() == "websocket.connect\nwebsocket.disconnect\n"


NOTES_EVENTS = """
noted = app
async def app(scope, receive, send):
    async def receive_and_note():
        event = await receive()
        with open("events", "a") as file:
            file.write(event["type"] + "\\n")
        return event
    await noted(scope, receive_and_note, send)
"""


def opened(service: Service, path: str = "/") -> ClientConnection:
    return connect(url(service, path), open_timeout=LIMIT, close_timeout=LIMIT)


def close_code(client: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosedError):
        for _ in client:
            pass
    return client.close_code


def test_a_wsgi_app_that_takes_over_closes_them_with_1012(
    moving: Service,
) -> None:
    pid = moving.start(*MODES.args[1][1])
    with opened(moving) as client:
        client.recv(LIMIT)
        (moving.directory / "app.py").write_text(WSGI)
        reload_all(moving, pid)

        assert close_code(client) == 1012
    wait_until(lambda: "closed with 1012: a WSGI app is served now" in moving.manager.stderr())


WSGI = """
def app(environ, start_response):
    start_response("204 No Content", [])
    return []
"""


@MODES
def test_a_websocket_that_waits_for_a_restart_is_closed_in_order_when_that_is_called_off(
    moving: Service, mode: tuple[str, ...]
) -> None:
    moving.start(*mode, "--websocket-grace=2s", FDSTORE="100", PATH="")
    with opened(moving) as client, opened(moving, "/stays") as stays:
        for each in (client, stays):
            each.recv(LIMIT)
        moving.manager.signal(FOLLOWED)
        moving.manager.signal(signal.SIGTERM)
        wait_until(lambda: CONNECTION in [each.name for each in moving.manager.stored])

        moving.manager.signal(FOLLOWED)

        assert [close_code(each) for each in (client, stays)] == [1012, 1012]
    assert moving.manager.wait_exit() == 0
