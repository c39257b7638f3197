"""Servers with one fault each, to judge the probe by: raw sockets in threads, ended by the `with` block."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LIMIT = 5.0
"""Seconds after which a thread of a test has failed."""

Handler = Callable[[socket.socket, int], None]


@contextmanager
def serve(handle: Handler, address: str | None = None) -> Iterator[str]:
    """Run `handle(connection, number)` in a thread for each connection, numbered from 0, and give the URL.

    `address` is the path of a unix socket; a TCP port otherwise. What a handler leaves open is closed.
    """
    family, target = (socket.AF_INET, ("127.0.0.1", 0)) if address is None else (socket.AF_UNIX, address)
    threads: list[threading.Thread] = []
    with socket.socket(family) as listener:
        listener.bind(target)
        listener.listen()
        acceptor = threading.Thread(target=_accept, args=(listener, handle, threads))
        acceptor.start()
        try:
            yield f"unix:{address}" if address else f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept(); nobody else holds this listener
            for thread in (acceptor, *threads):
                thread.join(LIMIT)
                assert not thread.is_alive(), thread


def _accept(listener: socket.socket, handle: Handler, threads: list[threading.Thread]) -> None:
    number = 0
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threads.append(threading.Thread(target=_handle, args=(connection, handle, number)))
        threads[-1].start()
        number += 1


def _handle(connection: socket.socket, handle: Handler, number: int) -> None:
    with connection:
        connection.settimeout(LIMIT)
        handle(connection, number)


def head(connection: socket.socket) -> bytes:
    """Read the head of a request; what there is of it, if the client closes."""
    data = b""
    while not data.endswith(b"\r\n\r\n") and (more := connection.recv(1)):
        data += more
    return data


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answer_and_close(connection: socket.socket) -> None:
    """Send a response and FIN in one segment: who has read the response can see the FIN."""
    connection.sendall(GOOD, socket.MSG_MORE)
    connection.close()


def upgrade(connection: socket.socket) -> ServerProtocol:
    """Shake hands for a websocket."""
    protocol = ServerProtocol()
    while protocol.state is State.CONNECTING:
        protocol.receive_data(connection.recv(65536))
        for event in protocol.events_received():
            assert isinstance(event, Request)
            protocol.send_response(protocol.accept(event))
    flush(connection, protocol)
    return protocol


def message(connection: socket.socket, protocol: ServerProtocol) -> str:
    """Wait for a message; "" when the client leaves."""
    while data := connection.recv(65536):
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            return bytes(event.data).decode() if protocol.close_rcvd is None else ""
    return ""


def echo(connection: socket.socket, protocol: ServerProtocol, text: str) -> None:
    """Answer a message as the load app does."""
    protocol.send_text(f'{{"echo": "{text}", "version": "1", "pid": 42}}'.encode())
    flush(connection, protocol)


def close(connection: socket.socket, protocol: ServerProtocol, code: int) -> None:
    """Send a close frame and wait for the one which answers it."""
    protocol.send_close(code)
    flush(connection, protocol)
    while protocol.close_rcvd is None and (data := connection.recv(65536)):
        protocol.receive_data(data)


def flush(connection: socket.socket, protocol: ServerProtocol) -> None:
    """Send what the protocol has to say."""
    for data in protocol.data_to_send():
        connection.sendall(data)
