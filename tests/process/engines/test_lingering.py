"""The last response of a connection arrives, though the client is still sending."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.support.http_client import Client
from tests.support.manager import open_sockets, wait_until
from tests.support.service import Service

SIZE = 10**12

UNREAD = f"POST /early HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"

CASES = {
    400: "nonsense",
    413: f"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {SIZE}\r\n\r\n",
    431: "GET / HTTP/1.1\r\nX-Large: ",
    200: UNREAD,
}

CLOSED_AT_ONCE = """
from sockact.engines.http import connection
for event in (connection.HttpEvent.COMPLETE_AMID, connection.HttpEvent.BAD):
    for row in connection._CELLS:
        row[event] = row[event][0], tuple(
            connection.HttpConnection._close if each is connection.HttpConnection._hang_up else each
            for each in row[event][1]
        )
"""


class Sender:
    """A client's other half, which sends and sends, whatever the server says meanwhile."""

    def __init__(self, client: Client, begin: str) -> None:
        self._client = client
        self._begin = begin
        self._failed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        try:
            self._client.send(self._begin)
            while not self._stopping.is_set():
                self._client.send(100_000 * b"x")
        except OSError:
            self._failed = True

    def stop(self) -> bool:
        """Stop, and return whether everything could be sent, also what comes after the end was read."""
        self._stopping.set()
        self._thread.join()
        try:
            for _ in range(50):  # a close is told only in answer to something, and some fits in buffers
                self._client.send(100_000 * b"x")
        except OSError:
            self._failed = True
        return not self._failed


def complete(client: Client, begin: str, status: int) -> bool:
    """Send what the server does not read; return whether the response was received whole meanwhile."""
    sender = Sender(client, begin)
    try:
        response = client.read()
        whole = len(response.body) == int(response.headers["content-length"]) and client.at_eof()
        assert response.status == status
    except (AssertionError, OSError):
        whole = False
    finally:
        sent = sender.stop()
    return sent and whole


@pytest.mark.parametrize("status", CASES)
def test_a_client_that_is_still_sending_gets_its_response(bounded: Service, status: int) -> None:
    bounded.start("--max-body-bytes=1M" if status == 413 else "--access-log")

    assert complete(bounded.client(), CASES[status], status)


@pytest.mark.parametrize("status", CASES)
def test_a_connection_that_is_closed_at_once_is_seen(bounded: Service, status: int) -> None:
    with (bounded.directory / "app.py").open("a") as app:
        app.write(CLOSED_AT_ONCE)
    bounded.start("--max-body-bytes=1M" if status == 413 else "--access-log")

    assert not complete(bounded.client(), CASES[status], status)


@pytest.mark.parametrize("silent", [True, False], ids=["is silent", "ends"])
def test_the_end_is_waited_for_as_long_as_the_client_is_not_silent(bounded: Service, silent: bool) -> None:
    pid = bounded.start()
    before = open_sockets(pid)
    client = bounded.client()

    client.send(UNREAD + "x")
    assert client.read().closes
    assert client.at_eof()
    if not silent:
        client.close()

    wait_until(lambda: open_sockets(pid) == before)


def test_what_lingers_does_not_hold_a_drain(bounded: Service) -> None:
    bounded.start()
    client = bounded.client()
    client.send(UNREAD + "x")
    assert client.read().closes

    bounded.manager.signal(signal.SIGTERM)

    assert bounded.manager.wait_exit() == 0
    assert "aborting" not in bounded.manager.stderr()
