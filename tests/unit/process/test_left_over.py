"""Left-over workers, made again from what systemd has stored of them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from sockact.process import child_handle
from sockact.process.child_handle import ChildHandle
from sockact.process.command import Program
from sockact.process.left_over import LeftOvers, stored_name
from sockact.sockets.fds import Kind, Listener
from tests.support.manager import open_descriptors

NAME = stored_name(7, 3)


@pytest.fixture
def child() -> Iterator[ChildHandle]:
    handle = child_handle.spawn(Program(("sleep", "3600"), "/", dict(os.environ)), [], {})
    yield handle
    child_handle.end_now(handle.pid)
    handle.close()


@pytest.fixture
def supplies() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def stored(child: ChildHandle, *more: int) -> list[Listener]:
    """Return copies of a worker's descriptors, as systemd passes them."""
    pidfd, *sockets = child.descriptors()
    copies = [socket.socket(fileno=os.dup(fd)) for fd in (*sockets, *more)]
    return [Listener(NAME, os.dup(pidfd), Kind.OTHER), *(Listener.of(each, NAME) for each in copies)]


def added(listeners: list[Listener]) -> LeftOvers:
    found = LeftOvers()
    assert all(found.add(each) for each in reversed(listeners))
    return found


def test_a_worker_is_found_again(child: ChildHandle, supplies: tuple[socket.socket, socket.socket]) -> None:
    found = added(stored(child, supplies[0].fileno()))

    (worker,) = found.take()

    assert (worker.number, worker.generation, worker.handle.pid) == (7, 3, child.pid)
    assert worker.name == NAME
    assert worker.supply is not None
    assert worker.supply.send(b"x") == 1
    assert supplies[1].recv(1) == b"x"
    assert worker.handle.manager.address == child.manager.address
    assert found.gone == []
    assert found.descriptors() == []
    worker.supply.close()
    worker.handle.close()


def test_a_worker_at_its_end_has_no_supply_any_more(child: ChildHandle) -> None:
    (worker,) = added(stored(child)).take()

    assert worker.supply is None
    worker.handle.close()


def test_a_worker_that_has_ended_is_none(child: ChildHandle) -> None:
    found = added(stored(child))
    child_handle.end_now(child.pid)

    assert found.take() == []
    assert found.gone == [NAME]


@pytest.mark.parametrize("missing", range(3))
def test_a_worker_of_which_something_is_missing_is_none(child: ChildHandle, missing: int) -> None:
    parts = stored(child)
    parts.pop(missing).close()
    found = added(parts)

    assert found.take() == []
    assert found.gone == [NAME]


@pytest.mark.parametrize("double", range(3))
def test_a_worker_of_which_something_is_there_twice_is_none(child: ChildHandle, double: int) -> None:
    parts = stored(child)
    before = open_descriptors(os.getpid())
    twice = parts[double]
    copy = os.dup(twice.fd)
    again = Listener(NAME, copy, twice.kind, None if twice.sock is None else socket.socket(fileno=copy))
    found = added([*parts, again])

    assert found.take() == []
    assert found.gone == [NAME]
    assert open_descriptors(os.getpid()) == before - len(parts)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_worker_with_a_socket_of_the_network_is_none(child: ChildHandle, kind: socket.SocketKind) -> None:
    parts = stored(child)
    (other,) = [each for each in parts if each.sock is not None and each.sock.type == kind]
    parts.remove(other)
    other.close()
    found = added([*parts, Listener.of(socket.socket(socket.AF_INET, kind), NAME)])

    assert found.take() == []
    assert found.gone == [NAME]


def test_a_notify_socket_may_have_any_name(child: ChildHandle) -> None:
    parts = stored(child)
    (own,) = [each for each in parts if each.kind is Kind.DATAGRAM]
    parts.remove(own)
    own.close()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(b"\0sockact\xff" + os.urandom(8).hex().encode())

    (worker,) = added([*parts, Listener.of(sock, NAME)]).take()

    assert worker.handle.manager.address.startswith("@sockact\udcff")
    worker.handle.close()


def test_a_worker_that_is_dismissed_gets_sigterm_when_nobody_else_has_its_lifeline() -> None:
    handle = child_handle.spawn(Program(("sleep", "3600"), "/", dict(os.environ)), [], {})
    found = added(stored(handle))
    handle.close()
    assert os.waitpid(handle.pid, os.WNOHANG) == (0, 0)

    assert found.dismiss() == [NAME]

    _, status = os.waitpid(handle.pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


@pytest.mark.parametrize("name", ["sockact.worker.1", "sockact.worker.x.1", "sockact.worker.1.2.3", "web"])
def test_other_descriptors_are_not_touched(name: str) -> None:
    with socket.socket() as sock:
        assert not LeftOvers().add(Listener.of(sock, name))


def test_a_socket_unit_of_that_name_is_no_worker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert not LeftOvers().add(Listener.of(sock, NAME))
