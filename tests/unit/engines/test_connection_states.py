"""Every state that a connection can reach by its table, and planted cells that the model must see."""

from __future__ import annotations

import pytest

from sockact.engines.http.stages import TABLE, Action, Cell, HttpEvent, HttpStage
from tests.model.connection import ConnectionModel, closable
from tests.model.search import search

S, E, A = HttpStage, HttpEvent, Action


def test_no_state_that_can_be_reached_breaks_a_promise() -> None:
    found = search(ConnectionModel())

    assert (found.broken, found.path) == ("", ())
    assert found.states > 200


def test_each_stage_can_end() -> None:
    assert closable() == frozenset(S)


FAULTS = {
    "a request in flight moves": (S.DUE, E.DRAIN, Cell(S.OFFERED, (A.OFFER,))),
    "a response under way moves": (S.RESPONDING, E.DRAIN, Cell(S.OFFERED, (A.OFFER,))),
    "half a body moves": (S.REST, E.DRAIN, Cell(S.OFFERED, (A.OFFER,))),
    "half a head moves": (S.HEAD, E.DRAIN_AMID, Cell(S.OFFERED, (A.OFFER,))),
    "an idle connection is closed in a drain": (S.IDLE, E.DRAIN, Cell(S.CLOSED, (A.CLOSE,))),
    "a fresh connection is closed in a drain": (S.FRESH, E.DRAIN_HERE, Cell(S.CLOSED, (A.CLOSE,))),
    "a request in flight is cut by a drain": (S.DUE, E.DRAIN_HERE, Cell(S.CLOSED, (A.CLOSE,))),
    "a response under way is cut by a drain": (S.RESPONDING, E.DRAIN_HERE, Cell(S.CLOSED, (A.CLOSE,))),
    "half a head is cut by a drain": (S.HEAD, E.DRAIN_HERE, Cell(S.CLOSED, (A.CLOSE,))),
    "an idle connection stays for ever in a drain": (S.IDLE, E.DRAIN_HERE, Cell(S.IDLE, (A.LAST,))),
    "a half-closed client gets no response": (S.DUE, E.EOF, Cell(S.CLOSED, (A.GONE, A.CLOSE))),
    "a half-closed client gets half of it": (S.RESPONDING, E.EOF, Cell(S.CLOSED, (A.GONE, A.CLOSE))),
    "a half-closed client is not closed": (S.IDLE, E.EOF, Cell(S.IDLE, ())),
    "an app waits for a client that has ended": (S.RESPONDING, E.EOF, Cell(S.RESPONDING, (A.LAST,))),
    "an app waits for a body that has ended": (S.BODY, E.EOF, Cell(S.CLOSED, (A.CLOSE,))),
    "an app is not told of a lost client": (S.BODY, E.LOST, Cell(S.CLOSED, ())),
    "an app is not told of a client that does not read": (S.BOTH, E.UNREAD, Cell(S.CLOSED, (A.RESET,))),
    "the next request is not read": (S.DUE, E.COMPLETE, Cell(S.IDLE, ())),
    "an early answer ends the connection": (S.BODY, E.COMPLETE, Cell(S.CLOSED, (A.CLOSE,))),
    "a connection that nobody takes is closed": (S.OFFERED, E.KEPT, Cell(S.CLOSED, (A.CLOSE,))),
    "a moved connection is hung up": (S.OFFERED, E.TAKEN, Cell(S.CLOSED, (A.CLOSE,))),
    "the last response leaves the connection open": (S.DUE, E.COMPLETE_LAST, Cell(S.IDLE, (A.NEXT,))),
    "a body is called twice": (S.BODY, E.BODY_END, Cell(S.DUE, (A.CALL,))),
    "an app that has failed leaves its client waiting": (
        S.DUE,
        E.FAILED,
        Cell(S.IDLE, (A.NEXT,)),
    ),
    "a closed connection is reset": (S.CLOSED, E.LOST, Cell(S.CLOSED, (A.RESET,))),
    "a slow body leaves its app waiting": (S.BOTH, E.OVERDUE, Cell(S.LINGERING, (A.HANG_UP,))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_shortest_way_to_a_planted_fault_is_found(fault: str) -> None:
    stage, event, cell = FAULTS[fault]

    found = search(ConnectionModel({**TABLE, (stage, event): cell}))

    assert found.broken
    assert 0 < len(found.path) <= 5
