"""The pauses before a program is started again, and the lines about its notifications."""

from __future__ import annotations

from sockact.activate.messages import Messages
from sockact.activate.restarts import LONGEST_PAUSE, SERIES, YOUNG, Restarts


def test_the_first_restart_is_at_once_and_each_pause_doubles_up_to_a_limit() -> None:
    restarts = Restarts()

    pauses = [restarts.pause(lived=0.1) for _ in range(SERIES)]

    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert pauses[-1] == LONGEST_PAUSE
    assert restarts.pause(lived=0.1) is None


def test_a_long_life_or_a_change_ends_the_series() -> None:
    restarts = Restarts()
    for _ in range(3):
        restarts.pause(lived=0.1)

    assert restarts.pause(lived=YOUNG) == 0.0
    assert restarts.pause(lived=0.1) == 0.1
    restarts.forget()
    assert restarts.pause(lived=0.1) == 0.0


def test_a_line_has_what_a_reader_wants_to_know() -> None:
    messages = Messages()

    assert messages.new({"STATUS": "up", "READY": "1", "X_OURS": "1"}) == "says READY=1 STATUS=up"
    assert messages.new({"WATCHDOG": "1"}) == ""


def test_a_status_is_printed_when_it_changes() -> None:
    messages = Messages()

    said = [messages.new({"STATUS": status}) for status in ("one", "one", "two", "one")]

    assert said == ["says STATUS=one", "", "says STATUS=two", "says STATUS=one"]
    assert messages.new({"STATUS": "one", "READY": "1"}) == "says READY=1 STATUS=one"
