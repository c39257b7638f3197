"""Hostile datagrams to a supervisor or its workers: none of them raises, leaks or blocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sockact.handover.admission import Given, inspect
from sockact.handover.envelope import (
    CONTENT_LIMIT,
    STATE_LIMIT,
    WEBSOCKET_LIMIT,
    CarriedState,
    seal,
    unseal,
)
from sockact.handover.exchange import Exchange
from sockact.handover.transfer import ARRIVING, RETIRE, HandoverReceiver, HandoverSender
from sockact.protocols.notify import Notifier, NotifySocket, usec
from sockact.untrusted import ancillary
from tests.support.hostile import LONG, QUICK, slow_to_close
from tests.support.in_process import only
from tests.support.manager import wait_until


@pytest.fixture
def manager() -> Iterator[NotifySocket]:
    with NotifySocket(stores=True) as manager:
        yield manager


@pytest.fixture
def voice(manager: NotifySocket) -> Iterator[socket.socket]:
    """Give a socket that is connected to the manager's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(manager.address.replace("@", "\0"))
        yield sock


@contextlib.contextmanager
def none_left_open() -> Iterator[None]:
    """See that no more descriptors are open afterwards than before, when another thread has closed some."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def in_a_queue(sock: socket.socket) -> socket.socket:
    """Return a Unix socket in whose queue a copy of another one lies; both are closed with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(theirs, [b"x"], [sock.fileno()])
    return ours


@pytest.mark.parametrize(
    "text",
    [
        b"EXTEND_TIMEOUT_USEC=" + b"9" * 400,
        b"EXTEND_TIMEOUT_USEC=" + b"9" * 4000,
        "EXTEND_TIMEOUT_USEC=٣".encode(),
        b"FDSTORE=1",
        b"FDSTORE=1\nFDNAME=sockact.connection",
        b"FDSTORE=1\n\xff\xfe\0=\n\n=",
        b"BARRIER=1",
        b"",
        b"\0" * 100,
        b"X" * 5000,
    ],
)
@pytest.mark.parametrize("stores", [True, False])
def test_no_content_raises_or_leaks(text: bytes, stores: bool) -> None:
    with none_left_open(), NotifySocket(stores=stores) as manager:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.connect(manager.address.replace("@", "\0"))
            socket.send_fds(voice, [text], [0] * ancillary.MAX_DESCRIPTORS)
            voice.send(b"X_NEXT=1")

        first, second = manager.receive(), manager.receive()

        assert first is not None
        assert second is not None
        assert second.assignments == {"X_NEXT": "1"}
        first.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2500000", 2.5),
        ("9" * 19, (10**19 - 1) / 1_000_000),
        ("9" * 20, None),
        ("9" * 400, None),
        ("9" * 5000, None),
        ("٣", None),
        ("²", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        (None, None),
    ],
)
def test_microseconds_are_a_number_of_64_bits(text: str | None, expected: float | None) -> None:
    assert usec(text) == expected


def test_what_a_process_without_descriptors_receives_in_part_is_closed(
    manager: NotifySocket, voice: socket.socket
) -> None:
    with none_left_open():
        socket.send_fds(voice, [b"FDSTORE=1\nFDNAME=sockact.connection"], [0] * 50)
        with only(10):
            notification = manager.receive()

        assert notification is not None
        assert notification.stored == ()


@pytest.mark.parametrize("hidden", [False, True], ids=["socket", "in a queue"])
def test_a_descriptor_that_takes_long_to_close_holds_nobody_up(
    manager: NotifySocket, voice: socket.socket, hidden: bool
) -> None:
    begun = time.monotonic()
    with none_left_open(), slow_to_close() as slow:
        sent = in_a_queue(slow) if hidden else slow
        for _ in range(3):
            socket.send_fds(voice, [b"X=1"], [sent.fileno()])
        ancillary.close_socket(sent)
        ancillary.close_socket(slow)  # from here on the last ones are in the queue of the manager
        voice.send(b"READY=1")

        heard = [manager.receive() for _ in range(4)]

        assert [message.assignments for message in heard if message] == [{"X": "1"}] * 3 + [{"READY": "1"}]
        assert time.monotonic() < begun + QUICK


def test_a_barrier_is_passed_while_others_take_long_to_close(
    manager: NotifySocket, voice: socket.socket
) -> None:
    with slow_to_close() as slow:
        for _ in range(ancillary.THREADS):
            socket.send_fds(voice, [b"X=1"], [in_a_queue(slow).detach()])
            manager.receive()
        ours, theirs = os.pipe()
        socket.send_fds(voice, [b"BARRIER=1"], [theirs])
        os.close(theirs)

        manager.receive()

        assert os.read(ours, 1) == b""
        os.close(ours)


def test_a_socket_that_is_closed_with_what_others_have_left_in_it_holds_nobody_up() -> None:
    begun = time.monotonic()
    with slow_to_close() as slow:
        manager = NotifySocket()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.connect(manager.address.replace("@", "\0"))
            socket.send_fds(voice, [b"X=1"], [slow.fileno()])
        ancillary.close_socket(slow)

        manager.close()

        assert time.monotonic() < begun + QUICK


# What is said, and a manager that does not read for a while.


@pytest.fixture
def notifier(manager: NotifySocket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notifier]:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    notifier = Notifier()
    yield notifier
    assert notifier._channel is not None
    notifier._channel.socket.close()


def fill(voice: socket.socket) -> None:
    voice.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            voice.send(b"X_FULL=1")


def test_ready_is_heard_when_the_queue_was_full_and_in_its_order(
    manager: NotifySocket, voice: socket.socket, notifier: Notifier
) -> None:
    fill(voice)
    begun = time.monotonic()
    notifier.reloading("trying")
    notifier.ready("again")
    notifier.stopping("over")
    held_up = time.monotonic() - begun
    time.sleep(1.5)  # longer than a manager is waited for by who cannot wait otherwise

    heard: list[str] = []

    def hear() -> bool:
        while message := manager.receive():
            heard.extend(set(message.assignments) & {"RELOADING", "READY", "STOPPING"})
        return len(heard) == 3

    wait_until(hear)
    assert heard == ["RELOADING", "READY", "STOPPING"]
    assert held_up < 0.5


def test_what_is_said_while_others_wait_does_not_overtake_them(
    manager: NotifySocket, voice: socket.socket, notifier: Notifier
) -> None:
    fill(voice)
    notifier.ready("ready")
    manager.receive()  # there is room now
    notifier.stopping("over")

    heard: list[str] = []

    def hear() -> bool:
        while message := manager.receive():
            heard.extend(set(message.assignments) & {"READY", "STOPPING"})
        return len(heard) == 2

    wait_until(hear)
    assert heard == ["READY", "STOPPING"]


def test_connections_are_not_given_away_before_what_waits(
    manager: NotifySocket, voice: socket.socket, notifier: Notifier
) -> None:
    fill(voice)
    notifier.stopping("over")

    assert notifier.store([0], "sockact.connection") is False


def test_the_end_of_a_process_waits_for_what_must_not_get_lost(
    manager: NotifySocket, voice: socket.socket, notifier: Notifier
) -> None:
    fill(voice)
    notifier.stopping("over")
    heard: list[bool] = []

    def hear() -> None:
        deadline = time.monotonic() + LONG
        while not any(heard) and time.monotonic() < deadline:
            if message := manager.receive():
                heard.append("STOPPING" in message.assignments)

    reader = threading.Thread(target=hear)
    reader.start()
    notifier.flush()
    reader.join()

    assert any(heard)


# What a worker gives away.


@contextlib.contextmanager
def connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        yield accepted


@contextlib.contextmanager
def reset() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as gone:
            accepted = server.accept()[0]
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not connected(accepted))
        with accepted:
            yield accepted


def connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def unix(kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        yield ours


def unix_datagrams() -> contextlib.AbstractContextManager[socket.socket]:
    return unix(socket.SOCK_DGRAM)


@contextlib.contextmanager
def envelope() -> Iterator[socket.socket]:
    with connection() as accepted, seal(accepted.fileno(), CarriedState(b"state")) as sealed:
        yield sealed


@contextlib.contextmanager
def empty_envelope() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (connection, Given.CONNECTION),
        (unix, Given.CONNECTION),
        (envelope, Given.CONNECTION),
        (reset, Given.GONE),
        (socket.socket, Given.GONE),
        (empty_envelope, Given.OTHER),
        (lambda: socket.create_server(("127.0.0.1", 0)), Given.OTHER),
        (lambda: socket.socket(type=socket.SOCK_DGRAM), Given.OTHER),
        (unix_datagrams, Given.OTHER),
        (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), Given.OTHER),
        (lambda: open("/dev/null"), Given.OTHER),  # noqa: SIM115
        (lambda: open("/proc/self/status"), Given.OTHER),  # noqa: SIM115
    ],
)
def test_only_connections_are_taken_from_a_worker(
    make: Callable[[], contextlib.AbstractContextManager[socket.socket]], expected: Given
) -> None:
    with make() as given:
        assert inspect(given.fileno()) is expected
        os.fstat(given.fileno())  # still open


class Ends:
    """The worker's end of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        supply = exchange.supply(1)
        self.hears = supply.theirs.dup()
        supply.theirs.close()

    def give(self, *descriptors: int) -> int:
        self.exchange.take([os.dup(fd) for fd in descriptors], 1)
        return self.hears.recv(1)[0]

    def close(self) -> None:
        self.exchange.forget(1)
        self.exchange.refuse()
        self.hears.close()


def test_from_the_first_that_is_no_connection_on_a_worker_keeps_what_it_gives() -> None:
    async def scene() -> None:
        with connection() as accepted, open("/dev/null") as other:  # noqa: ASYNC230
            ends = Ends(Exchange(lambda: ()))
            taken = ends.give(accepted.fileno(), accepted.fileno(), other.fileno(), accepted.fileno())

            assert taken == 2
            assert len(ends.exchange.unassigned) == 2
            ends.close()

    with none_left_open():
        asyncio.run(scene())


def test_one_whose_client_has_gone_is_taken_and_closed_and_the_next_one_moves() -> None:
    async def scene() -> None:
        with connection() as accepted, reset() as gone:
            ends = Ends(Exchange(lambda: ()))

            assert ends.give(gone.fileno(), accepted.fileno()) == 2
            assert len(ends.exchange.unassigned) == 1
            ends.close()

    with none_left_open():
        asyncio.run(scene())


def test_a_worker_gives_no_more_connections_than_it_can_have_had() -> None:
    async def scene() -> None:
        with connection() as accepted:
            ends = Ends(Exchange(lambda: (), share=lambda _: 5))
            taken = [ends.give(*[accepted.fileno()] * 3) for _ in range(3)]

            assert taken == [3, 2, 0]
            ends.close()

    with none_left_open():
        asyncio.run(scene())


def test_descriptors_over_the_supply_neither_leak_nor_hold_the_supervisor_up() -> None:
    async def scene() -> None:
        begun = time.monotonic()
        with slow_to_close() as slow:
            ends = Ends(Exchange(lambda: ()))
            with contextlib.suppress(PermissionError):  # where the kernel knows how to refuse them
                socket.send_fds(ends.hears, [b"\1"], [slow.fileno()])
            ancillary.close_socket(slow)
            await asyncio.sleep(0.1)
            ends.close()
            assert time.monotonic() < begun + QUICK

    with none_left_open():
        asyncio.run(scene())


def test_what_is_no_connection_does_not_keep_the_rest_of_a_batch_from_its_worker() -> None:
    arrived: list[socket.socket] = []

    async def scene() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        receiver = HandoverReceiver(theirs, arrived.append, HandoverSender(lambda _: True, confirms=True))
        with ours, connection() as accepted, open("/dev/null") as other:  # noqa: ASYNC230
            batch = [other.fileno(), accepted.fileno(), other.fileno(), accepted.fileno()]
            socket.send_fds(ours, [bytes([ARRIVING])], batch)
            receiver.receive()

            assert ours.recv(1) == bytes([4])
        receiver.close()

    with none_left_open():
        asyncio.run(scene())
        assert len(arrived) == 2
        for sock in arrived:
            sock.close()


@pytest.mark.parametrize(
    "message", [bytes([2]), bytes([RETIRE]), bytes([RETIRE]) + b"BEAT", bytes([RETIRE]) + b"KEEP", b"\xfd"]
)
def test_what_comes_over_a_supply_unasked_neither_raises_nor_leaks(message: bytes) -> None:
    heard: list[str] = []

    async def scene() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sender = HandoverSender(lambda _: True, confirms=True)
        receiver = HandoverReceiver(theirs, lambda _: None, sender, heard.append)
        with ours, open("/dev/null") as other:  # noqa: ASYNC230
            socket.send_fds(ours, [message], [other.fileno()] * 3)
            ours.send(bytes([RETIRE]) + b"SIGHUP")
            receiver.receive()
        receiver.close()

    with none_left_open():
        asyncio.run(scene())
    assert heard[-1] == "SIGHUP"


# What a connection takes with it.


def memory(content: bytes = b"", size: int | None = None) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    if size is not None:
        os.ftruncate(fd, size)
    return fd


def pipe() -> int:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    test_pipes.append(theirs)  # open, so that a read would wait for ever
    return ours


test_pipes: list[int] = []

GOOD = struct.pack("!B?I", 1, True, 3) + b"abc"


@pytest.mark.parametrize(
    "content",
    [
        lambda: memory(b""),
        lambda: memory(b"\1\1"),
        lambda: memory(b"\3" + GOOD[1:]),
        lambda: memory(struct.pack("!B?I", 1, True, 4_000_000_000) + b"abc"),
        lambda: memory(struct.pack("!B?I", 1, True, STATE_LIMIT + 1), STATE_LIMIT + 1000),
        lambda: memory(GOOD, CONTENT_LIMIT + 100),
        lambda: memory(GOOD, 1 << 40),
        lambda: memory(b"\2", 1),
        lambda: memory(b"\2" + GOOD[1:], WEBSOCKET_LIMIT + 1),
        lambda: os.open("/dev/zero", os.O_RDONLY),
        lambda: os.open("/proc/self/status", os.O_RDONLY),
        lambda: os.eventfd(0),
        pipe,
    ],
    ids=[
        "empty",
        "short",
        "version",
        "length",
        "long state",
        "long",
        "endless",
        "short WebSocket",
        "long WebSocket",
        "zero",
        "proc",
        "eventfd",
        "pipe",
    ],
)
def test_an_envelope_with_other_content_is_an_oserror(content: Callable[[], int]) -> None:
    with none_left_open(), connection() as accepted:
        fd = content()
        assert is_refused(holding(accepted.fileno(), fd))
        os.close(fd)
        while test_pipes:
            os.close(test_pipes.pop())


def is_refused(envelope: socket.socket) -> bool:
    try:
        unseal(envelope)
    except OSError:
        return True
    return False


def holding(*descriptors: int, copies: int = 1) -> socket.socket:
    """Return an envelope that holds these, and its own other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(theirs, [b"\0"], [*descriptors * copies, theirs.fileno()])
    return ours


def test_an_envelope_whose_first_descriptor_is_no_socket_is_an_oserror() -> None:
    with none_left_open():
        fd = memory(GOOD)
        assert is_refused(holding(fd, fd))
        os.close(fd)


def test_an_envelope_with_many_descriptors_is_an_oserror() -> None:
    with none_left_open(), connection() as accepted:
        assert is_refused(holding(accepted.fileno(), copies=200))


def test_an_envelope_without_anything_is_an_oserror_at_once() -> None:
    with none_left_open():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            assert is_refused(ours)


def test_an_envelope_gives_what_was_put_into_it() -> None:
    with none_left_open(), connection() as accepted:
        moved, carried = unseal(seal(accepted.fileno(), CarriedState(b"state", b"unread")))
        with moved:
            assert moved.getpeername() == accepted.getpeername()
        assert carried == CarriedState(b"state", b"unread")


def test_an_envelope_of_ours_leaves_nothing_to_a_thread_that_may_come_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[int] = []
    monkeypatch.setattr(ancillary._Closer.of_this_process, "close", late.extend)
    with connection() as accepted:
        moved, _ = unseal(seal(accepted.fileno(), CarriedState(b"state", b"unread")))
        moved.close()

    assert late == []
