"""WebSockets: handshakes, closes, and clients that want to cost memory."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support import moving
from tests.support.http_client import Client, get
from tests.support.manager import LIMIT, open_sockets, resident, wait_until
from tests.support.served import Served, reset, served

MOST = 1 << 20
"""Bytes of a message, at most."""

OPTIONS = (f"--websocket-max-message={MOST}", "--websocket-ping-interval=none", "--linger=1s")

TOO_MUCH = 16 << 20
"""Bytes that a connection costs only if nothing bounds it."""

TEXT, BINARY, CONTINUED, CLOSE, PING = 1, 2, 0, 8, 9

counter = itertools.count()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def ws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("websockets")
    with served(folder, "contrary_asgi", f"--loop={request.param}", *OPTIONS) as service:
        yield service


@pytest.fixture
def key() -> str:
    """Give a word that no other test uses."""
    return f"k{next(counter)}"


def handshake(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> str:
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: test",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""])


frame = partial(moving.frame, mask=bytes(4))
"""Makes frames of a client, with a mask that changes nothing."""


@contextlib.contextmanager
def opened(service: Served, path: str, *fields: str) -> Iterator[Client]:
    """Open a WebSocket, of which the test writes the frames itself."""
    with service.client() as client:
        client.send(handshake(path, *fields))
        assert client.read_head().status == 101
        yield client


def joined(service: Served, path: str) -> ClientConnection:
    host, port = service.address
    return connect(f"ws://{host}:{port}{path}", open_timeout=LIMIT, close_timeout=LIMIT)


def code_of(client: Client) -> int:
    """Read frames up to a close frame, and return its code."""
    while (first := client.read_bytes(1)) and first[0] & 15 != CLOSE:
        size = client.read_bytes(1)[0]
        if size == 126:
            (size,) = struct.unpack("!H", client.read_bytes(2))
        client.read_bytes(size)
    size = client.read_bytes(1)[0]
    (code,) = struct.unpack_from("!H", client.read_bytes(size))
    return int(code)


# Handshakes.

HEAVY = {
    "plain": ("", []),
    "9 kB of cookies": ("", ["Cookie: " + 9000 * "x"]),
    "130 fields": ("", [f"X-{number}: y" for number in range(130)]),
    "a long path": (8000 * "x", []),
    "many extensions": ("", ["Sec-WebSocket-Extensions: " + ", ".join(["x; y=z"] * 5000)]),
}


@pytest.mark.parametrize("weight", HEAVY)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/refuse", 403),
        ("/deny", 401),
        ("/fails", 500),
        ("/leaves", 500),
        ("/wrong-field", 500),
        ("/body-first", 500),
        ("/echo", 101),
    ],
)
def test_a_handshake_is_answered_at_once(ws: Served, path: str, status: int, weight: str) -> None:
    query, fields = HEAVY[weight]
    ws.mark()
    with ws.client() as client:
        client.send(handshake(f"{path}?{query}", *fields))
        answer = client.read()

        assert answer.status == status
        if status == 500:
            assert client.get("/hello").text == "hello"
        elif status != 101:
            assert client.at_eof()
        if status == 401:
            assert answer.text == "who are you?"
    if status == 500:
        assert ws.log().count(f"GET {path}?") == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [(["Content-Length: 3"], 400), (["Content-Length: 30000"], 400), (["Transfer-Encoding: chunked"], 400)],
)
def test_a_handshake_with_a_body_is_refused(ws: Served, fields: list[str], status: int) -> None:
    with ws.client() as client:
        client.send(handshake("/echo", *fields))

        assert client.read().status == status


@pytest.mark.parametrize("how", [{"version": "1.0"}, {"method": "POST"}], ids=["HTTP/1.0", "POST"])
def test_what_is_no_handshake_is_a_request(ws: Served, how: dict[str, str]) -> None:
    with ws.client() as client:
        client.send(handshake("/hello", **how))

        assert client.read().text == "hello"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [("Version: 13", "Version: 12", 426), ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400), ("13", "x", 426)],
)
def test_a_wrong_handshake_is_refused(ws: Served, old: str, new: str, status: int) -> None:
    with ws.client() as client:
        client.send(handshake("/echo").replace(old, new))

        assert client.read().status == status


def test_frames_may_come_with_the_handshake(ws: Served) -> None:
    with ws.client() as client:
        client.send(handshake("/echo").encode() + 1000 * frame(TEXT, b"12345"))
        assert client.read_head().status == 101

        assert client.read_bytes(3000) == 1000 * b"\x81\x015"


def test_a_request_may_come_before_the_handshake(ws: Served) -> None:
    with ws.client() as client:
        client.send(f"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n{handshake('/echo')}")
        assert client.read().text == "hello"
        assert client.read_head().status == 101


# Closes.


@pytest.mark.parametrize(("path", "code"), [("/returns", 1000), ("/raises", 1011), ("/wrong-type", 1011)])
def test_an_app_that_ends_closes(ws: Served, path: str, code: int) -> None:
    ws.mark()
    with joined(ws, path) as client, pytest.raises(ConnectionClosed) as end:
        client.recv(LIMIT)

    assert end.value.rcvd is not None
    assert end.value.rcvd.code == code
    assert ws.log().count("Traceback") == (code == 1011)


@pytest.mark.parametrize(
    ("close", "code"), [("1000", 1000), ("3000,bye", 3000), ("4999", 4999), ("1008," + 123 * "x", 1008)]
)
def test_an_app_may_close_with_a_code(ws: Served, close: str, code: int) -> None:
    with opened(ws, f"/close?{close}") as client:
        assert code_of(client) == code
        client.send(frame(CLOSE, struct.pack("!H", code)))
        assert client.at_eof()


@pytest.mark.parametrize("close", ["1005", "1006", "999", "5000", "0", "-1", "70000", "1000," + 124 * "x"])
def test_a_close_that_cannot_be_sent_is_a_failure_of_the_app(ws: Served, close: str) -> None:
    ws.mark()
    with opened(ws, f"/close?{close}") as client:
        assert code_of(client) == 1011
        client.send(frame(CLOSE, struct.pack("!H", 1011)))
        assert client.at_eof()

    ws.wait_logged("Traceback")
    assert ws.log().count("GET /close") == 1


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda client: client.send(frame(CLOSE, struct.pack("!H", 3001))), 3001),
        (lambda client: client.send(frame(CLOSE, b"")), 1005),
        (lambda client: client.sock.shutdown(socket.SHUT_WR), 1006),
        (reset, 1006),
        (Client.close, 1006),
    ],
    ids=["code", "no code", "half", "reset", "end"],
)
def test_the_app_is_told_how_its_client_has_gone(
    ws: Served, key: str, end: Callable[[Client], None], code: int
) -> None:
    with opened(ws, f"/echo?{key}") as client:
        end(client)

        assert ws.wait_noted(f"gone-{key}") == code


def test_a_client_that_ends_its_side_with_the_handshake_is_let_go(ws: Served, key: str) -> None:
    with ws.client() as client:
        client.send(handshake(f"/echo?{key}"))
        client.sock.shutdown(socket.SHUT_WR)

        assert ws.wait_noted(f"gone-{key}") == 1006


def test_two_tasks_may_receive(ws: Served, key: str) -> None:
    with opened(ws, f"/two-receive?{key}") as client:
        ws.wait_noted(f"begun-{key}")
        client.send(2 * frame(TEXT, b"x"))

        assert ws.wait_noted(f"both-{key}") == 2 * ["websocket.receive"]


WRONG = {
    "unmasked": (b"\x81\x01x", 1002),
    "reserved bit": (frame(TEXT | 0x20, b"x"), 1002),
    "reserved opcode": (frame(3, b"x"), 1002),
    "a long ping": (frame(PING, 126 * b"x"), 1002),
    "a ping in parts": (frame(PING, b"x", more=True), 1002),
    "a continuation of nothing": (frame(CONTINUED, b"x"), 1002),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "no UTF-8 in parts": (frame(TEXT, b"\xff", more=True) + frame(CONTINUED, b"x"), 1007),
    "too long": (frame(BINARY, bytes(MOST + 1)), 1009),
    "too long in parts": (frame(BINARY, bytes(MOST), more=True) + frame(CONTINUED, b"x"), 1009),
    "too long to be true": (b"\x82\xff" + b"\x7f" + 11 * b"\xff", 1009),
    "too long a close": (frame(CLOSE, b"x"), 1002),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_answered_and_ended_though_more_comes(ws: Served, key: str, kind: str) -> None:
    """A client that goes on sending must not keep the connection open, and hold every drain."""
    data, code = WRONG[kind]
    with opened(ws, f"/echo?{key}") as client:
        client.send(data)
        assert code_of(client) == code
        stop = threading.Event()
        sender = threading.Thread(target=send_on, args=[client, stop])
        sender.start()
        try:
            assert ws.wait_noted(f"gone-{key}") == code
            with contextlib.suppress(ConnectionResetError):
                assert client.at_eof()
        finally:
            stop.set()
            sender.join()


def send_on(client: Client, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not stop.wait(0.05):
            client.send(frame(TEXT, b"x"))


# Memory.


def zeros(size: int) -> bytes:
    """Return a compressed message of zeros."""
    deflate = zlib.compressobj(wbits=-12)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def in_parts(part: bytes, count: int) -> bytes:
    return frame(BINARY, part, more=True) + count * frame(CONTINUED, part, more=True)


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"

FLOODS = {
    "messages": lambda: 40 * frame(BINARY, bytes(MOST)),
    "small messages": lambda: 2_000_000 * frame(TEXT, b""),
    "compressed": lambda: 500 * frame(BINARY, zeros(MOST), compressed=True),
    "pings": lambda: 400_000 * frame(PING, 125 * b"x"),
    "empty parts": lambda: in_parts(b"", 3_000_000),
    "small parts": lambda: in_parts(b"xx", MOST // 2 - 2) + 1_000_000 * frame(CONTINUED, b"", more=True),
    "a part of a frame": lambda: b"\x82\xff" + struct.pack("!Q", MOST) + bytes(4) + bytes(MOST - 1),
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("path", ["/held", "/echo"])
def test_a_flood_costs_little_memory(ws: Served, key: str, kind: str, path: str) -> None:
    data = FLOODS[kind]()
    with opened(ws, f"{path}?{key}", DEFLATE) as client:
        ws.wait_noted(f"begun-{key}")
        before = resident(ws.pid)
        client.sock.settimeout(0.5)
        most = 0
        with contextlib.suppress(OSError):
            view = memoryview(data)
            while view:
                view = view[client.sock.send(view[: 1 << 18]) :]
                most = max(most, resident(ws.pid) - before)
                assert most < TOO_MUCH
        assert max(most, resident(ws.pid) - before) < TOO_MUCH
        reset(client)

    assert get(ws.address, "/hello").text == "hello"


def test_memory_that_is_used_is_seen(ws: Served, key: str) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(ws, f"/held?{key}")) for _ in range(30)]
        before = resident(ws.pid)
        for client in clients:
            client.send(frame(BINARY, os.urandom(MOST)))

        wait_until(lambda: resident(ws.pid) - before > TOO_MUCH)


def test_nothing_is_left(ws: Served) -> None:
    wait_until(lambda: open_sockets(ws.pid) <= ws.sockets)


# Pings.


def test_a_client_that_answers_no_ping_is_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = ("--websocket-ping-interval=100ms", "--websocket-ping-timeout=200ms", "--linger=200ms")
    with served(tmp_path_factory.mktemp("pings"), "contrary_asgi", *options) as service:
        with opened(service, "/echo?silent") as silent, joined(service, "/echo?lively") as lively:
            assert code_of(silent) == 1011
            lively.send("xx")
            assert lively.recv(LIMIT) == "2"
        assert service.wait_noted("gone-silent") == 1011
        assert service.wait_noted("gone-lively") == 1000
