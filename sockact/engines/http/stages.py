"""The life of an HTTP/1.1 connection: one table, stage by event.

Pure: no socket, no loop, no clock. `connection` feeds the events and carries out the actions.

A request is read only when the response before it is complete; what a client pipelines waits. So at any
time there is at most one request, and at each boundary between two requests the connection can move.
"""

from __future__ import annotations

from enum import IntEnum, auto, unique
from typing import NamedTuple

from sockact.engines.http.timeouts import Wait


@unique
class HttpStage(IntEnum):
    """The stage of a connection."""

    FRESH = 0
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    DUE = auto()
    BOTH = auto()
    RESPONDING = auto()
    REST = auto()
    OFFERED = auto()
    UPGRADED = auto()
    LINGERING = auto()
    CLOSED = auto()


@unique
class HttpEvent(IntEnum):
    """An event of a connection."""

    PART = 0
    HEAD = auto()
    REQUEST = auto()
    BODY_END = auto()
    BAD = auto()
    EOF = auto()
    EOF_BEHIND = auto()
    BEGUN = auto()
    COMPLETE = auto()
    COMPLETE_LAST = auto()
    COMPLETE_AMID = auto()
    FAILED = auto()
    RETURNED = auto()
    UPGRADE = auto()
    OVERDUE = auto()
    UNREAD = auto()
    DRAIN = auto()
    DRAIN_HERE = auto()
    DRAIN_AMID = auto()
    SHED = auto()
    GRACE_OVER = auto()
    SILENT = auto()
    TAKEN = auto()
    KEPT = auto()
    LOST = auto()


@unique
class Action(IntEnum):
    """An action that a cell asks for, carried out in this order."""

    CALL = 0
    DISCARD = auto()
    ANSWER = auto()
    ENDED = auto()
    GONE = auto()
    LAST = auto()
    NEXT = auto()
    HOLD = auto()
    OFFER = auto()
    RESUME = auto()
    LINGER = auto()
    CLOSE = auto()
    HANG_UP = auto()
    RESET = auto()
    LET_GO = auto()


STAGES = {
    HttpStage.FRESH: "accepted; nothing has come",
    HttpStage.IDLE: "between two requests, or moved here",
    HttpStage.HEAD: "a part of a request's head has come",
    HttpStage.BODY: "the body is incomplete, the response has not begun",
    HttpStage.DUE: "the request is complete, the response has not begun",
    HttpStage.BOTH: "the body is incomplete, the response has begun",
    HttpStage.RESPONDING: "the request is complete, the response has begun",
    HttpStage.REST: "the response is complete, the rest of the body is discarded",
    HttpStage.OFFERED: "unread, offered to the next process",
    HttpStage.UPGRADED: "a WebSocket has it",
    HttpStage.LINGERING: "after the last response: our side is shut down, what comes is discarded",
    HttpStage.CLOSED: "closed, or closes by itself when everything is sent",
}

EVENTS = {
    HttpEvent.PART: "a part of a head comes",
    HttpEvent.HEAD: "a head comes, and a body will follow",
    HttpEvent.REQUEST: "a request without a body comes",
    HttpEvent.BODY_END: "the body is complete",
    HttpEvent.BAD: "the input is refused",
    HttpEvent.EOF: "the client ends its side",
    HttpEvent.EOF_BEHIND: "the client ends its side, behind what is not read yet",
    HttpEvent.BEGUN: "the response begins",
    HttpEvent.COMPLETE: "the response is complete",
    HttpEvent.COMPLETE_LAST: "the last response is complete",
    HttpEvent.COMPLETE_AMID: "the last response is complete, and the client may still be sending",
    HttpEvent.FAILED: "the app has failed",
    HttpEvent.RETURNED: "the app has returned early, and the client can tell",
    HttpEvent.UPGRADE: "a WebSocket takes over",
    HttpEvent.OVERDUE: "the client is too slow",
    HttpEvent.UNREAD: "the client does not read",
    HttpEvent.DRAIN: "a drain begins, and a process takes connections",
    HttpEvent.DRAIN_HERE: "a drain begins, and nobody takes this one",
    HttpEvent.DRAIN_AMID: "a drain begins, and a part of a head was read",
    HttpEvent.SHED: "it is to go to a less loaded process",
    HttpEvent.GRACE_OVER: "`stream_grace` is over",
    HttpEvent.SILENT: "`linger` seconds without a byte",
    HttpEvent.TAKEN: "another process has taken it",
    HttpEvent.KEPT: "no process has taken it",
    HttpEvent.LOST: "the connection is lost",
}

ACTIONS = {
    Action.CALL: "call the app",
    Action.DISCARD: "discard what comes: the next response is the last one",
    Action.ANSWER: "answer in the app's place",
    Action.ENDED: "tell the app that the client sends no more",
    Action.GONE: "tell the app that the client has gone",
    Action.LAST: "make this response the last one",
    Action.NEXT: "read on",
    Action.HOLD: "stop reading",
    Action.OFFER: "stop reading, and offer it",
    Action.RESUME: "read again",
    Action.LINGER: "close after `linger`",
    Action.CLOSE: "close when everything is sent",
    Action.HANG_UP: "shut our side down when everything is sent",
    Action.RESET: "reset",
    Action.LET_GO: "close our descriptor only",
}


class Cell(NamedTuple):
    """The next stage, and what to do."""

    stage: HttpStage
    actions: tuple[Action, ...]


WAITS = {
    HttpStage.FRESH: Wait.BEGIN,
    HttpStage.IDLE: Wait.GO_ON,
    HttpStage.HEAD: Wait.HEADERS,
    HttpStage.BODY: Wait.BODY,
    HttpStage.BOTH: Wait.BODY,
    HttpStage.REST: Wait.BODY,
}
"""The next step of the client, where it has to take one; `timeouts` has the limits."""

IN_FLIGHT = frozenset({HttpStage.BODY, HttpStage.DUE, HttpStage.BOTH, HttpStage.RESPONDING})
"""The stages with a request whose response is incomplete."""

BETWEEN = frozenset({HttpStage.FRESH, HttpStage.IDLE, HttpStage.HEAD})
"""The stages in which the next request is read."""

READS_BODY = frozenset({HttpStage.BODY, HttpStage.BOTH, HttpStage.REST})
"""The stages in which a body is read."""


def _table() -> dict[tuple[HttpStage, HttpEvent], Cell]:
    s, e, a = HttpStage, HttpEvent, Action
    table = {(stage, event): Cell(stage, ()) for stage in HttpStage for event in HttpEvent}

    def on(stages: str, event: HttpEvent, following: HttpStage | None, *actions: Action) -> None:
        for name in stages.split():
            stage = s[name]
            table[stage, event] = Cell(stage if following is None else following, actions)

    open_ = " ".join(stage.name for stage in HttpStage if stage is not s.CLOSED)
    between, in_flight = "FRESH IDLE HEAD", "BODY DUE BOTH RESPONDING"

    on("FRESH IDLE", e.PART, s.HEAD)
    on(between, e.HEAD, s.BODY, a.CALL)
    on(between, e.REQUEST, s.DUE, a.CALL)
    on("BODY", e.BODY_END, s.DUE)
    on("BOTH", e.BODY_END, s.RESPONDING)
    on("REST", e.BODY_END, s.IDLE, a.NEXT)

    on(between, e.BAD, s.DUE, a.DISCARD, a.ANSWER)
    on("BODY", e.BAD, s.DUE, a.GONE, a.DISCARD, a.ANSWER)
    on("BOTH", e.BAD, s.LINGERING, a.GONE, a.HANG_UP)
    on("REST", e.BAD, s.LINGERING, a.HANG_UP)

    on("FRESH IDLE HEAD REST LINGERING", e.EOF, s.CLOSED, a.CLOSE)
    on("BODY BOTH", e.EOF, s.CLOSED, a.GONE, a.CLOSE)
    on("DUE RESPONDING", e.EOF, None, a.LAST, a.ENDED)
    on("DUE RESPONDING", e.EOF_BEHIND, None, a.ENDED)

    on("BODY", e.BEGUN, s.BOTH)
    on("DUE", e.BEGUN, s.RESPONDING)
    on("BODY BOTH", e.COMPLETE, s.REST, a.RESUME)
    on("DUE RESPONDING", e.COMPLETE, s.IDLE, a.NEXT)
    for last in (e.COMPLETE_LAST, e.COMPLETE_AMID):
        on(in_flight, last, s.LINGERING, a.HANG_UP)
    on("DUE RESPONDING", e.COMPLETE_LAST, s.CLOSED, a.CLOSE)
    for failed in (e.FAILED, e.RETURNED):
        on("BODY", failed, None, a.DISCARD, a.ANSWER)
        on("DUE", failed, None, a.ANSWER)
    on("BOTH RESPONDING", e.FAILED, s.CLOSED, a.RESET)
    on("BOTH", e.RETURNED, s.LINGERING, a.HANG_UP)
    on("RESPONDING", e.RETURNED, s.CLOSED, a.CLOSE)
    on("DUE", e.UPGRADE, s.UPGRADED)

    on("FRESH IDLE REST LINGERING", e.OVERDUE, s.CLOSED, a.CLOSE)
    on("HEAD", e.OVERDUE, s.DUE, a.DISCARD, a.ANSWER)
    on("BODY", e.OVERDUE, s.DUE, a.GONE, a.DISCARD, a.ANSWER)
    on("BOTH", e.OVERDUE, s.LINGERING, a.GONE, a.HANG_UP)
    on(f"{open_} CLOSED", e.UNREAD, s.CLOSED, a.RESET)
    on("BODY DUE BOTH RESPONDING", e.UNREAD, s.CLOSED, a.GONE, a.RESET)

    on("FRESH IDLE", e.DRAIN, s.OFFERED, a.OFFER)
    on("HEAD REST", e.DRAIN, None, a.LINGER)
    on("DUE RESPONDING", e.DRAIN, None, a.HOLD)
    on("FRESH IDLE HEAD REST", e.DRAIN_HERE, None, a.LAST, a.LINGER)
    on("FRESH IDLE HEAD", e.DRAIN_AMID, None, a.LINGER)  # it may move after this request
    on("BODY", e.DRAIN_HERE, None, a.LAST)
    on("DUE", e.DRAIN_HERE, None, a.LAST, a.HOLD)
    on("FRESH IDLE", e.SHED, s.OFFERED, a.OFFER)
    on("RESPONDING", e.DRAIN_HERE, None, a.HOLD)
    on("FRESH IDLE HEAD REST", e.SILENT, s.CLOSED, a.CLOSE)
    on("BOTH", e.GRACE_OVER, s.LINGERING, a.GONE, a.HANG_UP)
    on("RESPONDING", e.GRACE_OVER, s.CLOSED, a.GONE, a.CLOSE)
    on("OFFERED", e.TAKEN, s.CLOSED, a.LET_GO)
    on("OFFERED", e.KEPT, s.IDLE)

    on(open_, e.LOST, s.CLOSED)
    on(in_flight, e.LOST, s.CLOSED, a.GONE)
    return table


TABLE = _table()
"""The table: what follows each event in each stage."""


def rows() -> tuple[tuple[Cell, ...], ...]:
    """Return the table as rows, to be indexed by stage and event."""
    return tuple(tuple(TABLE[stage, event] for event in HttpEvent) for stage in HttpStage)
