"""The table of an HTTP connection: what holds for all of it."""

from __future__ import annotations

import pytest

from sockact.engines.http.stages import (
    ACTIONS,
    BETWEEN,
    EVENTS,
    IN_FLIGHT,
    READS_BODY,
    STAGES,
    TABLE,
    WAITS,
    Action,
    Cell,
    HttpEvent,
    HttpStage,
)

CELLS = [(stage, event, cell) for (stage, event), cell in TABLE.items()]
ENDS = {Action.CLOSE, Action.RESET, Action.LET_GO}


def cells(event: HttpEvent) -> dict[HttpStage, Cell]:
    return {stage: TABLE[stage, event] for stage in HttpStage}


def reachable(start: HttpStage) -> set[HttpStage]:
    """Return the stages that can follow, sooner or later."""
    found, new = {start}, [start]
    while new:
        stage = new.pop()
        following = {TABLE[stage, event].stage for event in HttpEvent} - found
        found |= following
        new += following
    return found


def test_every_cell_is_filled_and_every_name_explained() -> None:
    assert set(TABLE) == {(stage, event) for stage in HttpStage for event in HttpEvent}
    assert (set(STAGES), set(EVENTS), set(ACTIONS)) == (set(HttpStage), set(HttpEvent), set(Action))
    assert {action for _, _, cell in CELLS for action in cell.actions} == set(Action)


def test_every_stage_can_come_and_every_stage_can_end() -> None:
    assert reachable(HttpStage.FRESH) == set(HttpStage)
    for stage in set(HttpStage) - {HttpStage.UPGRADED}:
        assert HttpStage.CLOSED in reachable(stage)


@pytest.mark.parametrize("event", HttpEvent)
def test_a_closed_connection_stays_closed(event: HttpEvent) -> None:
    assert TABLE[HttpStage.CLOSED, event].stage is HttpStage.CLOSED
    assert set(TABLE[HttpStage.CLOSED, event].actions) <= {Action.RESET}


@pytest.mark.parametrize(("stage", "event", "cell"), CELLS)
def test_what_is_done_is_what_the_next_stage_says(stage: HttpStage, event: HttpEvent, cell: Cell) -> None:
    done = set(cell.actions)

    assert (cell.stage is HttpStage.CLOSED and stage is not HttpStage.CLOSED) == bool(
        done & ENDS and stage is not HttpStage.CLOSED
    ) or event is HttpEvent.LOST
    assert (Action.HANG_UP in done) == (cell.stage is HttpStage.LINGERING is not stage)
    assert (Action.OFFER in done) == (cell.stage is HttpStage.OFFERED is not stage)
    assert Action.CALL not in done or (stage in BETWEEN and cell.stage in IN_FLIGHT)
    assert Action.ANSWER not in done or cell.stage in {HttpStage.BODY, HttpStage.DUE}
    assert Action.NEXT not in done or cell.stage is HttpStage.IDLE


@pytest.mark.parametrize("stage", IN_FLIGHT)
def test_an_app_is_told_when_its_client_has_gone(stage: HttpStage) -> None:
    for event in HttpEvent:
        cell = TABLE[stage, event]
        complete = event in {HttpEvent.COMPLETE_LAST, HttpEvent.COMPLETE_AMID}
        failed = event in {HttpEvent.FAILED, HttpEvent.RETURNED}
        if cell.stage not in IN_FLIGHT | {HttpStage.IDLE, HttpStage.REST, HttpStage.UPGRADED}:
            assert Action.GONE in cell.actions or complete or failed, (stage, event)


def test_only_what_is_unread_moves() -> None:
    moving = {stage for stage, cell in cells(HttpEvent.DRAIN).items() if cell.stage is HttpStage.OFFERED}

    assert moving == {HttpStage.FRESH, HttpStage.IDLE, HttpStage.OFFERED}


@pytest.mark.parametrize("event", [HttpEvent.DRAIN, HttpEvent.DRAIN_HERE, HttpEvent.DRAIN_AMID])
def test_a_drain_ends_nothing_at_once(event: HttpEvent) -> None:
    for stage, cell in cells(event).items():
        assert cell.stage in {stage, HttpStage.OFFERED}
        assert not set(cell.actions) & (ENDS | {Action.HANG_UP, Action.GONE})


def test_a_client_that_ends_its_side_gets_its_response() -> None:
    for stage in (HttpStage.DUE, HttpStage.RESPONDING):
        assert TABLE[stage, HttpEvent.EOF] == (stage, (Action.LAST, Action.ENDED))


def test_a_client_has_to_do_something_only_where_it_is_its_turn() -> None:
    assert set(WAITS) == BETWEEN | READS_BODY
    overdue = {stage for stage, cell in cells(HttpEvent.OVERDUE).items() if cell != Cell(stage, ())}
    assert overdue == set(WAITS) | {HttpStage.LINGERING}


def test_a_silence_ends_only_what_is_not_in_flight() -> None:
    ended = {stage for stage, cell in cells(HttpEvent.SILENT).items() if cell.stage is not stage}

    assert ended == {HttpStage.FRESH, HttpStage.IDLE, HttpStage.HEAD, HttpStage.REST}
