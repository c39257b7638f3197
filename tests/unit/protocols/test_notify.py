"""Both ends of sd_notify(3), joined in one process."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.protocols.notify import (
    DATAGRAM_LIMIT,
    STATUS_LIMIT,
    Notification,
    Notifier,
    NotifySocket,
    parse,
    watchdog_interval,
)
from tests.support.in_process import close

PID = 42


@pytest.fixture
def manager() -> Iterator[NotifySocket]:
    with NotifySocket() as manager:
        yield manager


@pytest.fixture
def notifier(manager: NotifySocket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notifier]:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    notifier = Notifier()
    yield notifier
    close(notifier)


def heard(manager: NotifySocket) -> Notification:
    message = manager.receive()
    assert message is not None
    return message


def test_ready_comes_with_its_status_in_one_notification(manager: NotifySocket, notifier: Notifier) -> None:
    notifier.ready("fine")

    assert heard(manager) == Notification(os.getpid(), {"READY": "1", "STATUS": "fine"})
    assert manager.receive() is None


def test_reloading_comes_with_the_monotonic_time(manager: NotifySocket, notifier: Notifier) -> None:
    notifier.reloading("trying")
    assignments = heard(manager).assignments

    assert list(assignments) == ["RELOADING", "MONOTONIC_USEC", "STATUS"]
    assert assignments["MONOTONIC_USEC"].isdigit()


def test_the_other_words(manager: NotifySocket, notifier: Notifier) -> None:
    notifier.stopping("draining")
    notifier.extend(2.5)
    notifier.ping()

    assert heard(manager).assignments == {"STOPPING": "1", "STATUS": "draining"}
    assert heard(manager).assignments == {"EXTEND_TIMEOUT_USEC": "2500000"}
    assert heard(manager).assignments == {"WATCHDOG": "1"}


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\0", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_text_can_inject_an_assignment(manager: NotifySocket, notifier: Notifier, break_: str) -> None:
    notifier.status(f"failed{break_}MAINPID=1{break_}READY=1")
    assignments = heard(manager).assignments

    assert list(assignments) == ["STATUS"]
    assert len(assignments["STATUS"].splitlines()) == 1
    assert assignments["STATUS"].split() == ["failed", "MAINPID=1", "READY=1"]


@pytest.mark.parametrize("text", ["Ünïcödé … ✓", "日本語", "🙂", "a=b=c", ""])
def test_any_text_arrives_intact(manager: NotifySocket, notifier: Notifier, text: str) -> None:
    notifier.status(text)

    assert heard(manager).assignments == {"STATUS": text}


def test_half_a_character_is_left_out(manager: NotifySocket, notifier: Notifier) -> None:
    notifier.status("a\udcffb")

    assert heard(manager).assignments == {"STATUS": "a b"}


@pytest.mark.parametrize("char", ["x", "é", "🙂"])
def test_a_long_text_is_cut_so_that_the_notification_arrives(
    manager: NotifySocket, notifier: Notifier, char: str
) -> None:
    notifier.reloading(char * 100_000)
    assignments = heard(manager).assignments

    assert assignments["RELOADING"] == "1"
    assert assignments["STATUS"] == char * (STATUS_LIMIT - 1) + "…"


@pytest.mark.parametrize("name", ["", "a:b", "a\nMAINPID=1", "é", "x" * 256])
def test_a_name_that_systemd_would_not_take_is_refused(
    manager: NotifySocket, notifier: Notifier, name: str
) -> None:
    with pytest.raises(ValueError, match="the name of a descriptor is printable ASCII"):
        notifier.store([0], name)
    with pytest.raises(ValueError, match="the name of a descriptor is printable ASCII"):
        notifier.forget(name)

    assert manager.receive() is None


def test_the_variables_are_taken_out_of_the_environment_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    notifier = Notifier()

    assert not given.keys() & os.environ.keys()
    assert notifier.variables == given
    assert notifier.watchdog_interval == 1.5


def test_without_a_manager_nothing_is_said_and_nothing_breaks() -> None:
    notifier = Notifier()

    notifier.ready("x")
    notifier.reloading("x")
    notifier.stopping("x")
    notifier.status("x")
    notifier.extend(1)
    notifier.ping()
    assert notifier.barrier(0) is True


# sdnotify drops the socket that it could not connect, instead of closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "address", ["/nowhere/at/all", "@sockact-nobody-is-here", "nonsense", "vsock:2:1", "/" + "x" * 200]
)
def test_a_manager_that_cannot_be_reached_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notifier = Notifier()
    notifier.ready("x")

    assert "NOTIFY_SOCKET" not in os.environ
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert address in caplog.text


def test_a_manager_that_goes_away_does_no_harm_and_is_mentioned_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with NotifySocket() as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        notifier = Notifier()

    notifier.ready("x")
    notifier.ping()
    assert notifier.barrier(0) is False
    close(notifier)

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_ping_is_left_out_when_the_manager_does_not_read(
    manager: NotifySocket, notifier: Notifier
) -> None:
    for _ in range(2_000):
        notifier.ping()  # net.unix.max_dgram_qlen is far below that

    assert heard(manager).assignments == {"WATCHDOG": "1"}


def test_a_barrier_is_passed_when_all_before_it_was_read(manager: NotifySocket, notifier: Notifier) -> None:
    passed: list[bool] = []
    notifier.ready("x")
    waiting = threading.Thread(target=lambda: passed.append(notifier.barrier(20)))
    waiting.start()

    assert heard(manager).assignments["READY"] == "1"
    while (message := manager.receive()) is None:
        pass
    waiting.join(20)

    assert message.assignments == {"BARRIER": "1"}
    assert passed == [True]
    assert "NOTIFY_SOCKET" not in os.environ


def test_a_barrier_that_nobody_reads_is_not_passed(notifier: Notifier) -> None:
    assert notifier.barrier(0.001) is False


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 1.5),
        ({"WATCHDOG_USEC": "1"}, 0.000_000_5),
        ({}, None),
        ({"WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "1.5"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_watchdog_is_pinged_at_half_its_time(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval(environ, PID) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"READY=1", {"READY": "1"}),
        (b"READY=1\n", {"READY": "1"}),
        (b"READY=1\nSTATUS=a=b c\n", {"READY": "1", "STATUS": "a=b c"}),
        ("STATUS=é ✓".encode(), {"STATUS": "é ✓"}),
        (b"X=", {"X": ""}),
        (b"X=1\nX=2", {"X": "1"}),
        (b"", {}),
        (b"\n\n", {}),
        (b"READY", {}),
        (b"=1\nREADY=1", {"READY": "1"}),
        (b"STATUS=\xff\nREADY=1", {"READY": "1"}),
        (b"\xc3\xa9=1\nREADY=1", {"READY": "1"}),
    ],
)
def test_a_notification_is_read_line_by_line(data: bytes, expected: dict[str, str]) -> None:
    assert parse(data) == expected


def test_a_notification_that_was_cut_is_of_nobody(manager: NotifySocket, notifier: Notifier) -> None:
    notifier._send("X=" + "x" * DATAGRAM_LIMIT)

    assert heard(manager) == Notification(0, {})


def test_descriptors_that_come_with_a_notification_are_closed(
    manager: NotifySocket, notifier: Notifier
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    notifier.barrier(0)
    heard(manager)

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_socket_is_its_users_whatever_the_umask_of_the_app(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        with NotifySocket(f"{tmp_path}/n") as manager:
            mode = os.stat(manager.address).st_mode
    finally:
        os.umask(before)

    assert stat.S_IMODE(mode) == 0o600


def test_a_barrier_for_which_there_is_no_descriptor_is_not_passed(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", none_left)

    assert notifier.barrier(0) is False
