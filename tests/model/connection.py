"""The table of an HTTP connection as a model: a client, an app, a drain and the clock do what they like.

The table decides what follows each event. What was read, called, answered and told is noted here, apart
from it, and so is which events there can be: `HttpConnection` feeds no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sockact.engines.http.stages import IN_FLIGHT, TABLE, Action, Cell, HttpEvent, HttpStage

Table = Mapping[tuple[HttpStage, HttpEvent], Cell]

E, A, S = HttpEvent, Action, HttpStage

_BY_THE_APP = (E.COMPLETE, E.COMPLETE_LAST, E.COMPLETE_AMID, E.FAILED, E.RETURNED)
_ENDS = (A.CLOSE, A.HANG_UP, A.RESET, A.LET_GO)


class Books(NamedTuple):
    """A state: the stage, and our own books about it.

    Attributes:
        stage: the stage.
        part: a part of a head was read.
        body: the body of the request is incomplete.
        response: of the request that was read: "due", "begun", or "" for none.
        called: the app has a call, and was not told that it has ended.
        last: the response under way, or the next one, is the last one.
        reads: what the client sends is read.
        eof: the client has ended its side.
        draining: a drain has begun.
        stays: nobody has taken it.
        lingers: it is closed if the client is silent for long.
        owes_drain: what is to be done at the next boundary in a drain is due now.
        ended: the actions by which our side has ended.
    """

    stage: HttpStage = S.FRESH
    part: bool = False
    body: bool = False
    response: str = ""
    called: bool = False
    last: bool = False
    reads: bool = True
    eof: bool = False
    draining: bool = False
    stays: bool = False
    lingers: bool = False
    owes_drain: bool = False
    ended: tuple[Action, ...] = ()

    @property
    def between(self) -> bool:
        """True where a request may begin."""
        return not self.response and not self.body and not self.ended


class ConnectionModel:
    """All that can happen to a connection by a table."""

    def __init__(self, table: Table = TABLE) -> None:
        self._table = table

    def begin(self) -> Books:
        """Return the state of a connection that was accepted."""
        return Books()

    def events(self, state: Any) -> Iterator[HttpEvent]:
        """Return what can happen."""
        if state.stage in (S.CLOSED, S.UPGRADED):
            yield E.LOST  # what a WebSocket does is not in this table
            return
        if state.owes_drain:
            yield from self._drains(state)
            return
        yield from self._by_the_client(state)
        yield from self._by_the_app(state)
        yield from self._by_time(state)
        if state.stage is S.OFFERED:
            yield from (E.TAKEN, E.KEPT)
        elif not state.draining:
            yield from self._drains(state)
            if state.stage in (S.FRESH, S.IDLE) and state.between:
                yield E.SHED

    def _by_the_client(self, state: Books) -> Iterator[HttpEvent]:
        yield E.LOST
        if state.reads and not state.eof:
            if state.between and not state.part:
                yield E.PART
            if state.between:
                yield from (E.HEAD, E.REQUEST, E.BAD)
            if state.body:
                yield from (E.BODY_END, E.BAD)
            yield E.EOF
        elif not state.eof and state.response and not state.body:
            yield E.EOF_BEHIND

    def _by_the_app(self, state: Books) -> Iterator[HttpEvent]:
        if not state.response or state.ended:
            return
        if state.response == "due":
            yield E.BEGUN
        if state.last:
            yield from (E.COMPLETE_LAST, E.COMPLETE_AMID)
        else:
            yield E.COMPLETE
        if state.called:
            yield from (E.FAILED, E.RETURNED)
        if state.called and state.response == "due" and not state.body:
            yield E.UPGRADE

    def _by_time(self, state: Books) -> Iterator[HttpEvent]:
        if state.reads and not state.eof and (state.body or state.between):
            yield E.OVERDUE
        if state.stage is S.LINGERING:
            yield E.OVERDUE
        if state.response == "begun":
            yield E.UNREAD
            if state.draining:
                yield E.GRACE_OVER
        if state.lingers:
            yield E.SILENT

    def _drains(self, state: Books) -> Iterator[HttpEvent]:
        if state.stage in (S.LINGERING, S.UPGRADED):
            return
        yield E.DRAIN_HERE
        if not (state.stays or state.eof or state.last):
            yield E.DRAIN_AMID if state.part and not state.response else E.DRAIN

    def after(self, state: Any, event: Any) -> Books:
        """Return the state after an event; raises AssertionError if it breaks a promise."""
        stage, actions = self._table[state.stage, event]
        books = _noted(state, event)._replace(stage=stage)
        for action in actions:
            books = _done(books, action, event)
        _judge(state, books, event, actions)
        return books


def _request(books: Books) -> dict[str, Any]:
    return {"part": False, "response": "due", "lingers": False, "owes_drain": books.draining}


_NOTES: Mapping[HttpEvent, Callable[[Books], dict[str, Any]]] = {
    E.PART: lambda _: {"part": True, "lingers": False},
    E.HEAD: lambda books: {**_request(books), "body": True},
    E.REQUEST: _request,
    E.BODY_END: lambda books: {"body": False, "owes_drain": books.draining},
    E.BEGUN: lambda _: {"response": "begun"},
    E.COMPLETE: lambda books: {"response": "", "called": False, "owes_drain": books.draining},
    E.COMPLETE_LAST: lambda _: {"response": "", "called": False},
    E.COMPLETE_AMID: lambda _: {"response": "", "called": False},
    E.FAILED: lambda _: {"called": False},
    E.RETURNED: lambda _: {"called": False},
    E.UPGRADE: lambda _: {"response": "", "called": False},
    E.EOF: lambda _: {"eof": True},
    E.EOF_BEHIND: lambda _: {"eof": True},
    E.DRAIN: lambda _: {"draining": True, "owes_drain": False},
    E.DRAIN_AMID: lambda _: {"draining": True, "owes_drain": False},
    E.DRAIN_HERE: lambda _: {"draining": True, "owes_drain": False},
    E.KEPT: lambda books: {"stays": books.draining, "owes_drain": books.draining, "reads": True},
}
"""What an event itself means for the books."""


def _noted(books: Books, event: HttpEvent) -> Books:
    note = _NOTES.get(event)
    return books if note is None else books._replace(**note(books))


def _done(books: Books, action: Action, event: HttpEvent) -> Books:
    """Note what an action does."""
    match action:
        case A.CALL:
            assert not books.called, "the app is called once for each request"
            assert event in (E.HEAD, E.REQUEST), "the app is called for a request"
            return books._replace(called=True)
        case A.ANSWER:
            return books._replace(response="due", called=False, part=False)
        case A.DISCARD:
            return books._replace(last=True, body=False, reads=False)
        case A.LAST:
            return books._replace(last=True)
        case A.HOLD:
            return books._replace(reads=False)
        case A.NEXT | A.RESUME:
            return books._replace(reads=not books.eof)
        case A.OFFER:
            assert books.between, "no request, and no part of one, moves"
            assert not books.part, "what was read does not move"
            return books._replace(reads=False, lingers=False)
        case A.GONE | A.ENDED:
            return books._replace(called=books.called and action is A.ENDED)
        case A.LINGER:
            return books._replace(lingers=True, reads=not books.eof)
    assert action in _ENDS, action
    assert not books.ended or books.ended == (A.HANG_UP,), "a connection ends once"
    return books._replace(ended=(*books.ended, action), body=False, response="", lingers=False)


def _judge(before: Books, after: Books, event: HttpEvent, actions: tuple[Action, ...]) -> None:
    if before.stage is S.CLOSED:
        assert after.stage is S.CLOSED, "a closed connection stays closed"
        assert not actions, "nothing is done to a closed connection"
        return
    assert after.response or after.stage not in IN_FLIGHT, "a request in flight has a response to come"
    _judge_move(before, after, event, actions)
    _judge_response(before, after, event, actions)
    _judge_client_end(before, after, event, actions)
    if not _is_over(after) and after.stage not in (S.OFFERED, S.UPGRADED):
        assert after.reads or not after.between or after.eof, "what a client sends next is read"
        waits = after.draining and not after.response and not after.owes_drain
        assert not waits or after.lingers or after.stage in (S.HEAD, S.REST), "a drain ends"


def _is_over(books: Books) -> bool:
    return bool(books.ended) or books.stage is S.CLOSED


def _judge_move(before: Books, after: Books, event: HttpEvent, actions: tuple[Action, ...]) -> None:
    assert (A.LET_GO in actions) == (event is E.TAKEN), "only what was taken is let go"
    assert event is not E.KEPT or not _is_over(after), "what nobody has taken is served"
    if before.stage is S.OFFERED and after.stage is not S.OFFERED:
        assert event in (E.TAKEN, E.KEPT, E.LOST, E.UNREAD), "what is offered waits for an answer"
    if event in (E.DRAIN, E.DRAIN_HERE, E.DRAIN_AMID, E.SHED):
        assert not after.ended, "a drain ends no connection by itself"
        assert after.response == before.response, "a drain ends no response"


def _judge_response(before: Books, after: Books, event: HttpEvent, actions: tuple[Action, ...]) -> None:
    if before.response and _is_over(after) and event not in _BY_THE_APP:
        assert A.GONE in actions or not before.called, "an app whose client has gone is told"
        late = event in (E.LOST, E.UNREAD, E.OVERDUE, E.GRACE_OVER, E.BAD)
        assert late or (before.body and event is E.EOF), "a request that was read is answered"
    if before.response == "due" and event in (E.FAILED, E.RETURNED):
        assert after.response == "due", "a client that gets nothing from the app is told so"
    if event in (E.COMPLETE_LAST, E.COMPLETE_AMID):
        assert after.ended, "the last response is the last"
    if event is E.COMPLETE:
        assert not after.ended, "a response that is not the last one leaves the connection open"


def _judge_client_end(before: Books, after: Books, event: HttpEvent, actions: tuple[Action, ...]) -> None:
    if event is not E.EOF:
        return
    if not before.response:
        assert _is_over(after), "a client that has ended between two requests is not kept"
    elif not before.body:
        assert after.last or after.ended, "what a client that has ended gets is the last response"
        told = A.ENDED in actions or not before.called or _is_over(after)
        assert told, "an app is told that its client has ended"


def closable(table: Table = TABLE) -> frozenset[HttpStage]:
    """Return the stages from which some sequence of events leads to the end."""
    found = {S.CLOSED}
    while more := {stage for (stage, _), cell in table.items() if cell.stage in found} - found:
        found |= more
    return frozenset(found)
