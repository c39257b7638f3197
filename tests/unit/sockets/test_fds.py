"""The LISTEN_* variables, without a process: the wire of sd_listen_fds(3)."""

from __future__ import annotations

import pytest

from sockact.errors import ActivationError
from sockact.sockets.fds import VARIABLES, Kind, Listener, announcement, declared, meant_for_another

PID = 42


def environ(**changes: str | None) -> dict[str, str]:
    whole = {"LISTEN_PID": str(PID), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin", **changes}
    return {name: value for name, value in whole.items() if value is not None}


def is_open(fd: int) -> bool:
    return 0 <= fd < 10


@pytest.mark.parametrize(
    ("passed", "names"),
    [
        # Passed.
        (environ(), ["web", "admin"]),
        (environ(LISTEN_FDNAMES="web:web"), ["web", "web"]),
        (environ(LISTEN_FDNAMES=":"), ["", ""]),
        (environ(LISTEN_FDS="1", LISTEN_FDNAMES="web"), ["web"]),
        (environ(LISTEN_FDS="1", LISTEN_FDNAMES=None), ["unknown"]),
        (environ(LISTEN_FDS="7", LISTEN_FDNAMES=None), ["unknown"] * 7),
        (environ(LISTEN_PIDFDID="7121"), ["web", "admin"]),
        # Nothing passed.
        ({}, []),
        (environ(LISTEN_PID=None), []),
        (environ(LISTEN_FDS=None), []),
        (environ(LISTEN_FDS="0", LISTEN_FDNAMES=None), []),
        (environ(LISTEN_FDS="0", LISTEN_FDNAMES=""), []),
        # Passed to another process, whose variables are not ours to judge.
        (environ(LISTEN_PID="43"), []),
        (environ(LISTEN_PID="43", LISTEN_FDS="x"), []),
    ],
)
def test_the_names_of_what_was_passed(passed: dict[str, str], names: list[str]) -> None:
    assert declared(passed, PID, is_open) == names


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        (environ(LISTEN_PID="x"), "LISTEN_PID='x': expected a decimal number"),
        (environ(LISTEN_PID=""), "LISTEN_PID='': expected a decimal number"),
        (environ(LISTEN_FDS="x"), "LISTEN_FDS='x': expected a decimal number"),
        (environ(LISTEN_FDS=""), "LISTEN_FDS='': expected a decimal number"),
        (environ(LISTEN_FDS="-1"), "LISTEN_FDS='-1': expected a decimal number"),
        (environ(LISTEN_FDS="2 "), "LISTEN_FDS='2 ': expected a decimal number"),
        (environ(LISTEN_FDS="²"), "LISTEN_FDS='²': expected a decimal number"),
        (
            environ(LISTEN_FDS="100000"),
            "LISTEN_FDS=100000 means descriptors 3 to 100002, but 10 is not open",
        ),
        (environ(LISTEN_FDS="8", LISTEN_FDNAMES=None), "descriptors 3 to 10, but 10 is not open"),
        (environ(LISTEN_FDS="02"), "LISTEN_FDS='02': expected a decimal number"),
        (environ(LISTEN_PID="042"), "LISTEN_PID='042': expected a decimal number"),
        (environ(LISTEN_FDNAMES="web:\udcff"), "LISTEN_FDNAMES='web:\\udcff': expected names of printable"),
        (environ(LISTEN_FDNAMES="web:a\n"), "LISTEN_FDNAMES='web:a\\n': expected names of printable"),
        (environ(LISTEN_FDNAMES="web"), "LISTEN_FDNAMES has 1 names for LISTEN_FDS=2 descriptors"),
        (environ(LISTEN_FDNAMES=""), "LISTEN_FDNAMES has 1 names for LISTEN_FDS=2 descriptors"),
        (environ(LISTEN_FDNAMES="a:b:c"), "LISTEN_FDNAMES has 3 names for LISTEN_FDS=2 descriptors"),
    ],
)
def test_bad_input_is_an_error_that_says_what_was_found(passed: dict[str, str], message: str) -> None:
    with pytest.raises(ActivationError) as raised:
        declared(passed, PID, is_open)

    assert message in str(raised.value)
    assert raised.value.exit_status == 78


@pytest.mark.parametrize("count", ["999999999999999", "9" * 5000])
def test_a_count_beyond_all_descriptors_costs_neither_memory_nor_time(count: str) -> None:
    with pytest.raises(ActivationError, match="LISTEN_FDS="):
        declared(environ(LISTEN_FDS=count, LISTEN_FDNAMES=None), PID, is_open)


def test_what_is_passed_on_is_announced() -> None:
    listeners = [Listener(name, 9, Kind.FIFO) for name in ("web", "", "web")]
    before = {"PATH": "/bin", "LISTEN_PID": "1", "LISTEN_PIDFDID": "7", "LISTEN_FDNAMES": "x"}

    assert announcement(listeners, before) == {
        "PATH": "/bin",
        "LISTEN_FDS": "3",
        "LISTEN_FDNAMES": "web::web",
    }
    assert before["LISTEN_PID"] == "1"


def test_when_nothing_is_passed_on_nothing_is_announced() -> None:
    assert announcement([], dict.fromkeys(VARIABLES, "1") | {"PATH": "/bin"}) == {"PATH": "/bin"}


def test_an_announcement_is_what_declared_reads() -> None:
    listeners = [Listener(name, 9, Kind.FIFO) for name in ("web", "", "web")]
    announced = announcement(listeners, {}) | {"LISTEN_PID": str(PID)}

    assert declared(announced, PID, is_open) == ["web", "", "web"]


@pytest.mark.parametrize(
    ("passed", "other"), [({}, None), ({"LISTEN_PID": "42"}, None), ({"LISTEN_PID": "43"}, "43")]
)
def test_sockets_meant_for_another_process_are_noticed(passed: dict[str, str], other: str | None) -> None:
    assert meant_for_another(passed, PID) == other
