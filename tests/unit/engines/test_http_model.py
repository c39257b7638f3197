"""The model of an HTTP connection: nothing is lost, whatever comes in whatever pieces. It sees faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sockact.engines.http import connection
from sockact.engines.http.asgi import AsgiCall
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.reader import RequestReader
from sockact.engines.http.response import HttpResponse
from sockact.engines.http.stages import Action, Cell, HttpEvent, HttpStage
from tests.support.http_world import hold

MANY = 600
SEEN_WITHIN = 6000
"""Conversations in which a planted fault is seen at the latest."""


def test_a_client_sees_one_server() -> None:
    assert hold(range(MANY)) > MANY / 10


Plant = Callable[[pytest.MonkeyPatch], None]


def cell(stage: HttpStage, event: HttpEvent, after: HttpStage, *actions: Action) -> Plant:
    """Return a function that plants another cell in the table."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        cells = [list(row) for row in connection._CELLS]
        cells[stage][event] = after, connection._methods(Cell(after, actions))
        monkeypatch.setattr(connection, "_CELLS", cells)

    return plant


def method(kind: Any, name: str, replacement: Any) -> Plant:
    """Return a function that plants another method."""
    return lambda monkeypatch: monkeypatch.setattr(kind, name, replacement)


def forgets_the_tail(self: RequestReader, data: bytes) -> int:
    end = data.find(b"\r\n\r\n")
    return len(data) if end < 0 else end + 4


def takes_one_more(self: RequestReader, data: bytes) -> int:
    return min(len(data), RequestReader_up_to(self, data) + 1)


RequestReader_up_to = RequestReader._size_in_body


def forgets_what_was_read(each: HttpConnection) -> None:
    each._step(HttpEvent.DRAIN if each._may_move() else HttpEvent.DRAIN_HERE)


S, E, A = HttpStage, HttpEvent, Action


def sheds_in(stage: HttpStage) -> Plant:
    """Return a function that plants that a connection moves in this stage while its engine serves on."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        cell(stage, E.SHED, S.OFFERED, A.OFFER)(monkeypatch)
        monkeypatch.setattr(HttpConnection, "can_move_now", property(HttpConnection._may_move))

    return plant


FAULTS = {
    "a request in flight moves": cell(S.DUE, E.DRAIN, S.OFFERED, A.OFFER),
    "a response under way moves": cell(S.RESPONDING, E.DRAIN, S.OFFERED, A.OFFER),
    "half a body moves": cell(S.REST, E.DRAIN, S.OFFERED, A.OFFER),
    "an idle connection is closed in a drain": cell(S.IDLE, E.DRAIN, S.CLOSED, A.CLOSE),
    "a fresh connection is closed in a drain": cell(S.FRESH, E.DRAIN_HERE, S.CLOSED, A.CLOSE),
    "a request in flight is cut by a drain": cell(S.DUE, E.DRAIN_HERE, S.CLOSED, A.CLOSE),
    "a response under way is cut by a drain": cell(S.RESPONDING, E.DRAIN_HERE, S.CLOSED, A.CLOSE),
    "half a head is cut by a drain": cell(S.HEAD, E.DRAIN_HERE, S.CLOSED, A.CLOSE),
    "a half-closed client gets no response": cell(S.DUE, E.EOF, S.CLOSED, A.GONE, A.CLOSE),
    "a half-closed client gets half of it": cell(S.RESPONDING, E.EOF, S.CLOSED, A.GONE, A.CLOSE),
    "a half-closed client is not closed": cell(S.IDLE, E.EOF, S.IDLE),
    "an app waits for a client that has ended": cell(S.RESPONDING, E.EOF, S.RESPONDING, A.LAST),
    "an app waits for a body that has ended": cell(S.BODY, E.EOF, S.CLOSED, A.CLOSE),
    "an app is not told of a lost client": cell(S.BODY, E.LOST, S.CLOSED),
    "an app with a whole request is not told": cell(S.DUE, E.LOST, S.CLOSED),
    "the next request is not read": cell(S.RESPONDING, E.COMPLETE, S.IDLE),
    "the next request after an early answer is not read": cell(S.REST, E.BODY_END, S.IDLE),
    "an early answer ends the connection": cell(S.BODY, E.COMPLETE, S.CLOSED, A.CLOSE),
    "a connection that nobody takes is not read": cell(S.IDLE, E.DRAIN_HERE, S.IDLE),
    "a connection that nobody takes is closed": cell(S.OFFERED, E.KEPT, S.CLOSED, A.CLOSE),
    "half a head is shed": sheds_in(S.HEAD),
    "a request in flight is shed": sheds_in(S.DUE),
    "a response under way is shed": sheds_in(S.RESPONDING),
    "a connection that is to be elsewhere is closed": cell(S.IDLE, E.SHED, S.CLOSED, A.CLOSE),
    "a connection that stays after all is not read": method(
        HttpConnection, "on_refused", lambda self: self._step(E.KEPT)
    ),
    "a request is read in a pause": method(HttpConnection, "hold", lambda _: None),
    "the end of a pause is not seen": method(HttpConnection, "release", lambda _: None),
    "a moved connection is hung up": cell(S.OFFERED, E.TAKEN, S.CLOSED, A.CLOSE),
    "the last response leaves the connection open": cell(S.DUE, E.COMPLETE_LAST, S.IDLE, A.NEXT),
    "a body is called twice": cell(S.BODY, E.BODY_END, S.DUE, A.CALL),
    "a body that ends under a response is forgotten": cell(S.BOTH, E.BODY_END, S.BOTH),
    "an empty line is not seen across pieces": method(RequestReader, "_size_in_body", forgets_the_tail),
    "a byte of the next request is taken": method(RequestReader, "_size_in_body", takes_one_more),
    "what was read is forgotten in a move": method(HttpConnection, "drain", forgets_what_was_read),
    "a body that nobody takes any more is not read": method(
        HttpConnection, "_is_full", property(lambda self: bool(self._current and self._current.full))
    ),
    "reading is not resumed": method(HttpConnection, "_resume", lambda _: None),
    "the last response is not announced": method(HttpConnection, "is_last", property(lambda _: False)),
    "each response is the last": method(HttpConnection, "is_last", property(lambda _: True)),
    "a body comes twice": method(
        AsgiCall, "on_body_end", lambda self: setattr(self, "_told", False) or self._wake()
    ),
    "chunks go to HTTP/1.0": method(HttpResponse, "_old", property(lambda _: False, lambda *_: None)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)

    with pytest.raises(AssertionError, match="conversation"):
        hold(range(SEEN_WITHIN))
