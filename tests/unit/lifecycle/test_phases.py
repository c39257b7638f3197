"""The table of the lifecycle: what holds for all of it."""

from __future__ import annotations

import pytest

from sockact.lifecycle.phases import TABLE, Act, Event, Phase

FINAL = (Phase.INACTIVE, Phase.FAILED)
LIVE = [phase for phase in Phase if phase not in FINAL]
CELLS = [(phase, event, *TABLE[phase][event]) for phase in TABLE for event in TABLE[phase]]


@pytest.mark.parametrize("phase", LIVE)
def test_every_live_phase_knows_every_event(phase: Phase) -> None:
    assert set(TABLE[phase]) == set(Event)


def test_the_final_phases_know_none() -> None:
    assert set(TABLE) == set(LIVE)


@pytest.mark.parametrize("phase", LIVE)
def test_a_stop_leads_to_deactivating(phase: Phase) -> None:
    assert TABLE[phase][Event.STOP][0] is Phase.DEACTIVATING


@pytest.mark.parametrize("phase", LIVE)
@pytest.mark.parametrize("event", [Event.KILL, Event.FAILED])
def test_a_kill_or_a_fault_ends_every_phase(phase: Phase, event: Event) -> None:
    assert TABLE[phase][event] == (Phase.FAILED, Act.END)


@pytest.mark.parametrize("cell", CELLS)
def test_the_service_leaves_exactly_when_a_final_phase_begins(
    cell: tuple[Phase, Event, Phase, Act],
) -> None:
    _, _, after, act = cell

    assert (act in (Act.END, Act.HAND_OVER)) == (after in FINAL)


@pytest.mark.parametrize("cell", CELLS)
def test_each_entry_into_a_phase_is_said_and_nothing_else(cell: tuple[Phase, Event, Phase, Act]) -> None:
    before, _, after, act = cell
    said = {
        Phase.ACTIVE: {Act.SAY_READY, Act.REFUSE_RELOAD},
        Phase.RELOADING: {Act.BEGIN_RELOAD},
        Phase.DEACTIVATING: {Act.BEGIN_STOP, Act.BEGIN_ABORT},
    }

    if before is not after and after not in FINAL:
        assert act in said[after]
    elif before is after:
        assert act in {Act.DO_NOTHING, Act.REMEMBER_RELOAD, Act.ABORT}


def test_each_outcome_of_a_reload_is_said_to_the_manager() -> None:
    outcomes = {
        event: cell for event, cell in TABLE[Phase.RELOADING].items() if cell[0] is not Phase.RELOADING
    }

    assert outcomes == {
        Event.REFUSED: (Phase.ACTIVE, Act.REFUSE_RELOAD),  # READY=1 from here
        Event.RENEWED: (Phase.ACTIVE, Act.SAY_READY),  # READY=1 from here
        Event.REPLACED: (Phase.INACTIVE, Act.HAND_OVER),  # READY=1 from the new code
        Event.STOP: (Phase.DEACTIVATING, Act.BEGIN_STOP),  # STOPPING=1
        Event.QUIT: (Phase.DEACTIVATING, Act.BEGIN_ABORT),  # STOPPING=1
        Event.FAILED: (Phase.FAILED, Act.END),  # the exit status
        Event.KILL: (Phase.FAILED, Act.END),
    }


def test_stopping_is_final() -> None:
    after = {phase for phase, _ in TABLE[Phase.DEACTIVATING].values()}

    assert after == {Phase.DEACTIVATING, *FINAL}


def test_stopping_is_said_once() -> None:
    assert not {Act.BEGIN_STOP, Act.BEGIN_ABORT} & {act for _, act in TABLE[Phase.DEACTIVATING].values()}


def test_no_request_for_a_reload_is_lost_but_to_a_stop() -> None:
    acts = {phase: TABLE[phase][Event.RELOAD][1] for phase in LIVE}

    assert acts == {
        Phase.ACTIVATING: Act.REMEMBER_RELOAD,
        Phase.ACTIVE: Act.BEGIN_RELOAD,
        Phase.RELOADING: Act.REMEMBER_RELOAD,
        Phase.DEACTIVATING: Act.DO_NOTHING,
    }


@pytest.mark.parametrize("phase", [Phase.RELOADING, Phase.DEACTIVATING])
def test_sigusr2_ends_a_drain(phase: Phase) -> None:
    assert TABLE[phase][Event.USR2] == (phase, Act.ABORT)
