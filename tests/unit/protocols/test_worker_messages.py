"""A worker and its supervisor: one end writes what the other reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sockact.protocols.counters import Counters
from sockact.protocols.notify import NotifySocket
from sockact.protocols.worker_messages import (
    EXITED,
    KEEP,
    ORDER_LIMIT,
    SHED,
    Reporter,
    SupervisorOrder,
    WorkerMessage,
)
from tests.support.in_process import close


@pytest.fixture
def manager() -> Iterator[NotifySocket]:
    with NotifySocket() as manager:
        yield manager


@pytest.fixture
def reporter(manager: NotifySocket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporter]:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    reporter = Reporter()
    yield reporter
    close(reporter)


@pytest.mark.parametrize(
    ("say", "understood"),
    [
        (lambda worker: worker.ready("up"), WorkerMessage(ready=True)),
        (lambda worker: worker.stopping("down"), WorkerMessage(stopping=True)),
        (lambda worker: worker.ping(), WorkerMessage(pings=True)),
        (lambda worker: worker.extend(1.5), WorkerMessage(extension=1.5)),
        (
            lambda worker: worker.status("busy", Counters(7, 1, 3)),
            WorkerMessage(counters=Counters(7, 1, 3)),
        ),
        (lambda worker: worker.status("busy"), WorkerMessage()),
        (lambda worker: worker.idle(True), WorkerMessage(idle=True)),
        (lambda worker: worker.idle(False), WorkerMessage(idle=False)),
        (lambda worker: worker.recycle("too old"), WorkerMessage(recycle="too old")),
        (lambda worker: worker.hook_failed("on_start"), WorkerMessage(failed_hook="on_start")),
        (lambda worker: worker.request_reload(), WorkerMessage(requests_reload=True)),
        (lambda worker: worker.ask_before_reload(), WorkerMessage(asks_before_reload=True)),
        (lambda worker: worker.consent(""), WorkerMessage(consent="")),
        (lambda worker: worker.consent("not now"), WorkerMessage(consent="not now")),
        (lambda worker: worker.take_orders(), WorkerMessage(takes_orders=True)),
        (lambda worker: worker.watch_exits(), WorkerMessage(watches_exits=True)),
        (lambda worker: worker.exit_seen(42), WorkerMessage(exit_seen=42)),
        (lambda worker: worker.version("1.2"), WorkerMessage(version="1.2")),
        (lambda worker: worker.options(["--workers=2", "-x"]), WorkerMessage(options="--workers=2 -x")),
        (lambda worker: worker.ending(), WorkerMessage(ending=True)),
        (lambda worker: worker.failing("no app"), WorkerMessage(reason="no app")),
    ],
)
def test_a_supervisor_understands_what_a_worker_says(
    manager: NotifySocket, reporter: Reporter, say: Callable[[Reporter], None], understood: WorkerMessage
) -> None:
    say(reporter)

    notification = manager.receive()
    assert notification is not None
    assert WorkerMessage.from_assignments(notification.assignments) == understood


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ({"ERRNO": "2", "STATUS": "no such file"}, WorkerMessage(error="no such file")),
        ({"ERRNO": "2"}, WorkerMessage(error="ERRNO=2")),
        ({"ERRNO": "x"}, WorkerMessage(error="ERRNO=x")),
        ({"ERRNO": "0", "STATUS": "fine"}, WorkerMessage()),
    ],
)
def test_the_errors_of_other_programs_are_understood(
    said: dict[str, str], understood: WorkerMessage
) -> None:
    assert WorkerMessage.from_assignments(said) == understood


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"X_SOCKACT_OF_A_LATER_VERSION": "1", "VENDOR_THING": "x"},
        {"READY": "0", "STOPPING": "yes", "WATCHDOG": "trigger"},
        {"EXTEND_TIMEOUT_USEC": "soon"},
        {"EXTEND_TIMEOUT_USEC": "9" * 400},
        {"X_SOCKACT_REQUESTS": "7", "X_SOCKACT_IN_FLIGHT": "1"},
        {"X_SOCKACT_REQUESTS": "7", "X_SOCKACT_IN_FLIGHT": "-1", "X_SOCKACT_CONNECTIONS": "3"},
        {"X_SOCKACT_REQUESTS": "9" * 5000, "X_SOCKACT_IN_FLIGHT": "1", "X_SOCKACT_CONNECTIONS": "3"},
        {"X_SOCKACT_EXIT_SEEN": "\u0661"},
        {"X_SOCKACT_EXIT_SEEN": "9" * 5000},
        {"X_SOCKACT_RECYCLE": ""},
    ],
)
def test_what_is_unknown_or_malformed_counts_as_not_said(said: dict[str, str]) -> None:
    assert WorkerMessage.from_assignments(said) == WorkerMessage()


@pytest.mark.parametrize("said", [{"X_SOCKACT_EXIT_SEEN": "x"}, {"X_SOCKACT_CONNECTIONS": "many"}])
def test_a_malformed_assignment_does_not_hide_the_others(said: dict[str, str]) -> None:
    whole = {**said, "READY": "1", "X_SOCKACT_VERSION": "1.2"}

    assert WorkerMessage.from_assignments(whole) == WorkerMessage(ready=True, version="1.2")


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (SupervisorOrder("SIGTERM"), b"SIGTERM"),
        (SupervisorOrder(KEEP), b"KEEP"),
        (SupervisorOrder(EXITED, 12), b"EXITED 12"),
        (SupervisorOrder(SHED, 3), b"SHED 3"),
        (SupervisorOrder("DANCE"), b"DANCE"),
    ],
)
def test_a_worker_understands_an_order(order: SupervisorOrder, text: bytes) -> None:
    assert bytes(order) == text
    assert SupervisorOrder.from_bytes(text) == order
    assert len(text) <= ORDER_LIMIT


@pytest.mark.parametrize(
    "text", [b"EXITED", b"EXITED x", b"EXITED -1", b"EXITED " + b"9" * 40, b"SHED", b"SHED -2", b"\xff\0"]
)
def test_a_malformed_order_means_nothing(text: bytes) -> None:
    order = SupervisorOrder.from_bytes(text)

    assert order.number is None
    assert order.name in ("EXITED", "SHED", text.decode("ascii", "replace"))


def test_another_supervisor_is_told_again_what_holds_and_nothing_else(
    manager: NotifySocket, reporter: Reporter
) -> None:
    reporter.ready("up")
    reporter.take_orders()
    reporter.version("1.2")
    reporter.recycle("too old")
    reporter.stopping("down")
    while manager.receive() is not None:
        pass

    reporter.introduce()

    notification = manager.receive()
    assert notification is not None
    said = WorkerMessage.from_assignments(notification.assignments)
    assert said == WorkerMessage(ready=True, takes_orders=True, version="1.2", stopping=True)
    assert manager.receive() is None
