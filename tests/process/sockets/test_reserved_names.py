"""Sockets that a manager cannot mean to pass are refused at the start; the error says what they are."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.errors import ActivationError
from sockact.sockets.fds import Kind, Listener
from tests.support.http_client import get
from tests.support.manager import Manager, listening
from tests.support.sockets import bound
from tests.support.sources import HELLO

SHAPES = ["--workers=0", "--workers=1"]

Stack = contextlib.ExitStack


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack() as stack:
        yield stack


def tcp(stack: Stack, name: str) -> Listener:
    return closing(stack, listening(name=name))


def unix(stack: Stack, name: str) -> Listener:
    return closing(stack, bound(socket.AF_UNIX, socket.SOCK_STREAM, "", name, listen=True))


def seqpacket(stack: Stack, name: str) -> Listener:
    return closing(stack, bound(socket.AF_UNIX, socket.SOCK_SEQPACKET, "", name, listen=True))


def datagram(stack: Stack, name: str) -> Listener:
    return closing(stack, bound(socket.AF_UNIX, socket.SOCK_DGRAM, "", name))


def fifo(stack: Stack, name: str) -> Listener:
    reading, writing = os.pipe()
    stack.callback(os.close, writing)
    return closing(stack, Listener(name, reading, Kind.FIFO))


def closing(stack: Stack, listener: Listener) -> Listener:
    stack.callback(listener.close)
    return listener


MISNAMED = [
    pytest.param("sockact.connection", tcp, "stream socket that listens on 127.0.0.1:", id="tcp"),
    pytest.param("sockact.connection", unix, "stream socket that listens on @", id="unix"),
    pytest.param("sockact.connection", seqpacket, "sequential-packet socket that listens", id="seqpacket"),
    pytest.param("sockact.connection", datagram, "datagram socket", id="datagram"),
    pytest.param("sockact.connection", fifo, "FIFO", id="fifo"),
    pytest.param("sockact.control", tcp, "stream socket that listens on 127.0.0.1:", id="control tcp"),
    pytest.param("sockact.control", datagram, "datagram socket", id="control datagram"),
    pytest.param("sockact.control", fifo, "FIFO", id="control fifo"),
    pytest.param("sockact.caller", tcp, "stream socket that listens", id="caller tcp"),
    pytest.param("sockact.caller", unix, "stream socket that listens", id="caller unix"),
    pytest.param("sockact.caller", fifo, "FIFO", id="caller fifo"),
    pytest.param("sockact.supply", tcp, "stream socket that listens", id="supply tcp"),
    pytest.param(
        "sockact.supply", seqpacket, "sequential-packet socket that listens", id="supply seqpacket"
    ),
    pytest.param("sockact.web", tcp, "stream socket that listens", id="no name of ours"),
    pytest.param("sockact.", tcp, "stream socket that listens", id="hardly a name"),
]


def refusal(manager: Manager, shape: str, *passed: Listener, **environ: str) -> str:
    """Start with these sockets, and return why it is refused."""
    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", shape, listeners=passed, **environ)
    assert manager.wait_exit() == ActivationError.exit_status
    assert "Traceback" not in manager.stderr()
    return manager.said("STATUS")[-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "make", "what"), MISNAMED)
def test_a_socket_under_a_name_of_sockacts_own_is_refused_at_the_start(
    manager: Manager,
    listener: Listener,
    stack: Stack,
    shape: str,
    name: str,
    make: Callable[[Stack, str], Listener],
    what: str,
) -> None:
    said = refusal(manager, shape, make(stack, name), listener)

    assert said.startswith(f"descriptor 3 ({name}) is a {what}")
    assert "names that begin with 'sockact.' are for what sockact passes to itself" in said


@pytest.mark.parametrize("shape", SHAPES)
def test_two_control_sockets_are_one_too_many(
    manager: Manager, listener: Listener, stack: Stack, shape: str
) -> None:
    first, second = unix(stack, "sockact.control"), unix(stack, "sockact.control")

    assert refusal(manager, shape, first, second, listener).startswith("descriptor 4 (sockact.control)")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["sockact.control", "sockact.connection", "sockact.web"])
def test_a_socket_that_is_bound_here_has_no_such_name_either(
    manager: Manager, shape: str, name: str
) -> None:
    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", shape, f"--listen={name}=127.0.0.1:0")

    assert manager.wait_exit() == ActivationError.exit_status
    assert f"({name}) is a stream socket that listens on 127.0.0.1:" in manager.said("STATUS")[-1]


def test_a_client_whose_connection_was_stored_is_not_lost_by_a_misnamed_socket(
    manager: Manager, listener: Listener, stack: Stack
) -> None:
    assert listener.sock is not None
    client = stack.enter_context(socket.create_connection(listener.sock.getsockname()))
    kept = closing(stack, Listener.of(listener.sock.accept()[0], "sockact.connection"))

    refusal(manager, "--workers=0", tcp(stack, "sockact.web"), kept, listener, FDSTORE="10")

    assert [each.name for each in manager.stored] == ["sockact.connection"]
    assert manager.stored[0].sock is not None
    assert manager.stored[0].sock.getpeername() == client.getsockname()


def test_a_client_that_has_gone_while_it_was_stored_is_no_fault(
    manager: Manager, listener: Listener, stack: Stack
) -> None:
    assert listener.sock is not None
    client = socket.create_connection(listener.sock.getsockname())
    kept = closing(stack, Listener.of(listener.sock.accept()[0], "sockact.connection"))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # by a reset
    client.close()
    assert not kept.connected

    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", listeners=[listener, kept])
    manager.wait_ready()

    assert get(listener, "/").text == "hello"


def test_what_a_later_version_has_stored_is_closed(
    manager: Manager, listener: Listener, stack: Stack
) -> None:
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", listeners=[listener, Listener.of(theirs, "sockact.carried")])
    theirs.close()
    manager.wait_ready()

    assert ours.recv(1) == b""


def vsock(stack: Stack) -> Listener:
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError:
        pytest.skip("this kernel has no AF_VSOCK")
    sock.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    sock.listen()
    return closing(stack, Listener.of(sock, "web"))


def netlink(stack: Stack) -> Listener:
    return closing(stack, bound(socket.AF_NETLINK, socket.SOCK_DGRAM, (0, 0)))


HANDLERS = {
    "asgi": (HELLO, vsock),
    "wsgi": ("def app(environ, start_response): ...", vsock),
    "stream": ("async def app(reader, writer): ...", vsock),
    "socket": ("def app(connection): ...", vsock),
    "datagram": ("async def app(data, address, reply): ...", netlink),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", HANDLERS)
def test_a_socket_of_a_family_whose_clients_nobody_could_serve_is_refused(
    manager: Manager, stack: Stack, kind: str, shape: str
) -> None:
    source, make = HANDLERS[kind]
    passed = make(stack)
    Path("app.py").write_text(source)
    manager.sockact("app:app", shape, listeners=[passed])

    assert manager.wait_exit() == ActivationError.exit_status
    said = manager.said("STATUS")[-1]
    assert said.startswith("descriptor 3 (web=")
    assert "expected one of IPv4, IPv6 or Unix" in said
    assert make is not vsock or f"(web={passed.address}) is a socket of AF_VSOCK" in said


def test_an_address_in_a_virtual_machine_is_shown_as_socket_units_write_it(stack: Stack) -> None:
    listener = vsock(stack)
    assert listener.sock is not None

    assert listener.address == f"vsock::{listener.sock.getsockname()[1]}"
