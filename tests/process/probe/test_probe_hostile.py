"""The probe against servers that do what they like: all requests are counted, and there is a report."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.probe import cli
from tests.support.certificates import Authority
from tests.support.manager import CHECKOUT, LIMIT

Behaviour = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
JSON = OK + b"Content-Type: application/json\r\n"

MEMORY = 512 << 20
"""Bytes of address space that a probe may have here; an endless body was 2.9 GB in three seconds."""

REQUESTS = 2


class Server:
    """Accepts, and does with each connection what it was made for."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(LIMIT)
            self._connections.add(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._behave(connection)


def head(connection: socket.socket) -> bytes:
    """Read a request without a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError
        data += part
    return data


def saying(*parts: bytes) -> Behaviour:
    """Answer each request with these bytes, and hang up."""

    def behave(connection: socket.socket) -> None:
        head(connection)
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    return behave


def endless(start: bytes, part: bytes) -> Behaviour:
    """Answer with an end that never comes."""
    part *= max(65536 // len(part), 1)

    def behave(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(start)
        while True:
            connection.sendall(part)

    return behave


def kept(body: bytes, more: bytes = b"") -> Behaviour:
    """Answer request after request, each followed by bytes that nobody has asked for."""

    def behave(connection: socket.socket) -> None:
        while True:
            head(connection)
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body + more)

    return behave


def flooding(connection: socket.socket) -> None:
    head(connection)
    connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def resetting(data: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def hanging_up(_connection: socket.socket) -> None:
    """Close at once."""


def trickling(connection: socket.socket) -> None:
    head(connection)
    for byte in OK * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def hasty(connection: socket.socket) -> None:
    """Answer before it was asked, and hang up."""
    connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


WRONG = {"wrong"}
HTTP: dict[str, tuple[Behaviour, set[str]]] = {
    "status line of bad bytes": (saying(b"\xff\xfe\xb2\xb3 \xb9\r\n\r\n"), WRONG),
    "status of digits that are none": (saying(b"HTTP/1.1 \xb2\xb3\xb9 OK\r\n\r\n"), WRONG),
    "status 099": (saying(b"HTTP/1.1 099 ?\r\n\r\n"), WRONG),
    "status 1000": (saying(b"HTTP/1.1 1000 ?\r\n\r\n"), WRONG),
    "status in words": (saying(b"HTTP/1.1 two OK\r\n\r\n"), WRONG),
    "no status": (saying(b"HTTP/1.1\r\n\r\n"), WRONG),
    "another version": (saying(b"HTTP/2.0 200 OK\r\n\r\n"), WRONG),
    "another protocol": (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), WRONG),
    "switching protocols": (saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\nxyz"), WRONG),
    "NUL": (endless(b"", b"\0"), WRONG),
    "empty lines": (endless(b"", b"\r\n"), WRONG),
    "an endless status line": (endless(b"HTTP/1.1 200 ", b"O"), WRONG),
    "endless 100s": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), WRONG),
    "endless 103s with fields": (endless(b"", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"), WRONG),
    "endless fields": (endless(OK, b"X-A: b\r\n"), WRONG),
    "an endless field": (endless(OK + b"X-A: ", b"b"), WRONG),
    "a field without a name": (saying(OK + b": b\r\n\r\n"), WRONG),
    "a field without a colon": (saying(OK + b"\xff\xff\r\n\r\n"), WRONG),
    "an endless body": (endless(OK + b"\r\n", b"x"), {"timeout"}),
    "an endless body with a length": (
        endless(OK + b"Content-Length: 999999999999\r\n\r\n", b"x"),
        {"timeout"},
    ),
    "an endless JSON body": (endless(JSON + b"\r\n", b"["), {"timeout"}),
    "endless small chunks": (endless(CHUNKED, b"1\r\nx\r\n"), {"timeout"}),
    "endless large chunks": (endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"), {"timeout"}),
    "an endless chunk": (endless(CHUNKED + b"fffffffffff\r\n", b"x"), {"timeout"}),
    "an endless chunk extension": (endless(CHUNKED + b"1;", b"x"), WRONG),
    "endless trailers": (endless(CHUNKED + b"0\r\n", b"X-A: b\r\n"), WRONG),
    "a chunk size without an end": (endless(CHUNKED, b"f"), WRONG),
    "a chunk size below zero": (saying(CHUNKED + b"-1\r\nx\r\n0\r\n\r\n"), WRONG),
    "a chunk size with a prefix": (saying(CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n"), WRONG),
    "a chunk size with a line": (saying(CHUNKED + b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"), WRONG),
    "a chunk size that is none": (saying(CHUNKED + b"G\r\nx\r\n0\r\n\r\n"), WRONG),
    "a chunk size beyond all numbers": (saying(CHUNKED + b"f" * 10_000 + b"\r\nx"), WRONG),
    "no chunk size": (saying(CHUNKED + b"\r\n\r\n"), WRONG),
    "a chunk longer than its size": (saying(CHUNKED + b"1\r\nxx\r\n0\r\n\r\n"), WRONG),
    "an end in a chunk": (saying(CHUNKED + b"5\r\nxx"), WRONG),
    "a length beyond all numbers": (saying(OK + b"Content-Length: " + b"9" * 6000 + b"\r\n\r\nx"), WRONG),
    "a length beyond the stream": (saying(OK + b"Content-Length: 99999999999\r\n\r\nx"), WRONG),
    "a length below zero": (saying(OK + b"Content-Length: -1\r\n\r\nx"), WRONG),
    "a length with a sign": (saying(OK + b"Content-Length: +1\r\n\r\nx"), WRONG),
    "a length with a line": (saying(OK + b"Content-Length: 0_1\r\n\r\nx"), WRONG),
    "a length of digits that are none": (saying(OK + b"Content-Length: \xb9\r\n\r\nx"), WRONG),
    "two lengths": (saying(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), WRONG),
    "a length and chunks": (
        saying(OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        WRONG,
    ),
    "an unknown coding": (saying(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), WRONG),
    "JSON that is nested": (saying(JSON + b"\r\n" + b"[" * 500_000), WRONG),
    "JSON that is no text": (saying(JSON + b"\r\n\xff\xff"), WRONG),
    "JSON with a long number": (saying(JSON + b'\r\n{"pid": ' + b"9" * 5000 + b"}"), WRONG),
    "silence": (silent, {"timeout"}),
    "a trickle": (trickling, {"timeout"}),
    "an end at once": (hanging_up, {"empty", "reset"}),
    "an end before a word": (saying(b""), {"empty"}),
    "an end in the status line": (saying(b"HTTP/1."), WRONG),
    "an end in a field": (saying(OK + b"Content-Le"), WRONG),
    "a reset before a word": (resetting(b""), {"reset"}),
    "a reset in the body": (resetting(OK + b"Content-Length: 100000\r\n\r\nx"), {"reset"}),
}


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], int]]:
    """Give what starts a server, and returns its port."""
    with contextlib.ExitStack() as stack:

        def start(behave: Behaviour) -> int:
            server = Server(behave)
            stack.callback(server.close)
            return server.port

        yield start


def arguments(port: int, load: str, scheme: str = "http") -> list[str]:
    counted = [f"--requests={REQUESTS}", "--limit=0.5", "--start-limit=60", "--json"]
    return [f"{scheme}://127.0.0.1:{port}/", load, *counted]


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def probe(port: int, load: str, scheme: str = "http") -> dict[str, Any]:
    """Run a probe that may have little memory, and return its report."""
    command = [sys.executable, "-m", "sockact.probe", *arguments(port, load, scheme)]
    done = subprocess.run(
        command,
        preexec_fn=limited,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=LIMIT,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) is (report["lost"] == 0 and report["started"] is not None)
    return report


def outcomes(report: dict[str, Any]) -> set[str]:
    """Return in which ways requests were lost; there is one outcome for each of them."""
    counts = {word: count for word, count in report["total"]["outcomes"].items() if count}
    assert sum(counts.values()) == report["requests"]
    return set(counts) - {"ok", "closed"}


@pytest.mark.parametrize("kind", HTTP)
def test_whatever_a_server_answers_is_counted_as_a_loss(
    serve: Callable[[Behaviour], int], kind: str
) -> None:
    behave, expected = HTTP[kind]

    report = probe(serve(behave), "one-shot:1@max")

    assert report["requests"] == report["lost"] == REQUESTS
    assert outcomes(report) <= expected
    assert report["failures"][0]["detail"].isprintable()
    assert all(len(each["detail"]) < 300 for each in report["failures"])


def odd(version: str, pid: str) -> Behaviour:
    body = f'{{"version": {version}, "pid": {pid}}}'.encode()
    return saying(JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body)


IDENTITIES = [
    ('"\\ud800"', "1"),
    ('"\\u001b[2J\\u0007"', "1"),
    (json.dumps("x" * 100_000), "1"),
    ("[" * 500 + "]" * 500, "1"),
    ("1e999", "NaN"),
    ("NaN", "-1"),
    ("true", "true"),
    ("null", '"\N{SUPERSCRIPT TWO}"'),
    ("9" * 4000, "9" * 4000),
    ("{}", "[]"),
    ('"1"', "1.5"),
]


@pytest.mark.parametrize("form", ["--json", "--requests=1"])
def test_whoever_a_server_says_to_be_can_be_reported(
    serve: Callable[[Behaviour], int], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    for version, pid in IDENTITIES:
        port = serve(odd(version, pid))
        options = [f"http://127.0.0.1:{port}/", "one-shot:1@max", "--requests=1", "--limit=5", form]
        assert cli.main(options) == 0
        out = capsys.readouterr().out
        out.encode()
        assert len(out) < 5000
        assert all(line.isprintable() for line in out.splitlines())


def test_a_server_that_is_somebody_else_each_time_costs_no_memory() -> None:
    from sockact.probe.account import MAX_IDENTITIES, Account, Ledger
    from sockact.probe.record import Identity

    ledger = Ledger({"load": Account()}, frozenset())
    for number in range(3 * MAX_IDENTITIES):
        ledger.saw(Identity(str(number), number), 1.0)
    assert len(ledger.seen) == MAX_IDENTITIES


PERSISTENT: dict[str, tuple[Behaviour, set[str]]] = {
    "bytes that nobody has asked for": (kept(b"", b"HTTP/1.1 200 OK\r\n\r\n"), WRONG),
    "a flood between two requests": (flooding, WRONG),
    "a body where there is none": (
        saying(b"HTTP/1.1 204 No Content\r\n\r\nbody", b"HTTP/1.1 200 OK\r\n\r\n"),
        WRONG,
    ),
}


@pytest.mark.parametrize("kind", PERSISTENT)
def test_what_comes_between_two_requests_is_a_loss_of_the_next_one(
    serve: Callable[[Behaviour], int], kind: str
) -> None:
    behave, expected = PERSISTENT[kind]

    report = probe(serve(behave), "persistent:1@max")

    assert report["requests"] == REQUESTS
    assert 1 <= report["lost"] <= REQUESTS
    assert outcomes(report) <= expected


def test_an_answer_before_the_request_is_none_or_is_lost_by_the_reset_after_it(
    serve: Callable[[Behaviour], int],
) -> None:
    """Which of both, is a matter of time."""
    report = probe(serve(hasty), "persistent:1@max")

    assert report["requests"] == REQUESTS
    assert outcomes(report) <= {"reset", "wrong"}


# TLS


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    while True:
        connection.sendall(b"\xff\x00garbage" * 1000)


def plain(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    silent(connection)


def alerts(connection: socket.socket) -> None:
    """Warn for ever: close_notify is of level 1."""
    connection.recv(65536)
    while True:
        connection.sendall(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)


def half_a_hello(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f")


def empty_records(connection: socket.socket) -> None:
    connection.recv(65536)
    while True:
        connection.sendall(b"\x16\x03\x03\x00\x00" * 1000)


HANDSHAKES: dict[str, tuple[Behaviour, set[str]]] = {
    "garbage": (garbage, WRONG),
    "plain HTTP": (plain, WRONG),
    "silence": (silent, {"timeout"}),
    "an end": (hanging_up, {"reset"}),
    "endless warnings": (alerts, {"wrong", "reset"}),
    "half a hello": (half_a_hello, {"reset"}),
    "empty records": (empty_records, {"wrong", "reset"}),
}


@pytest.mark.parametrize("kind", HANDSHAKES)
def test_a_handshake_that_is_none_is_a_loss(serve: Callable[[Behaviour], int], kind: str) -> None:
    behave, expected = HANDSHAKES[kind]

    report = probe(serve(behave), "one-shot:1@max", "https")

    assert report["requests"] == report["lost"] == REQUESTS
    assert outcomes(report) <= expected


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return Authority(tmp_path_factory.mktemp("tls")).issue("server").server()


@pytest.mark.parametrize(
    ("load", "behave", "expected"),
    [
        ("one-shot:1@max", endless(OK + b"\r\n", b"x"), {"timeout"}),
        ("one-shot:1@max", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), WRONG),
        ("one-shot:1@max", saying(OK), {"reset"}),  # the stream is cut off, without a word
        ("persistent:1@max", flooding, WRONG),
    ],
)
def test_what_has_no_end_is_bounded_over_tls_too(
    serve: Callable[[Behaviour], int],
    context: ssl.SSLContext,
    load: str,
    behave: Behaviour,
    expected: set[str],
) -> None:
    def encrypted(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as sock:
            behave(sock)

    report = probe(serve(encrypted), load, "https")

    assert report["lost"] >= 1
    assert outcomes(report) <= expected


# WebSockets

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def agree(connection: socket.socket) -> None:
    """Shake hands as RFC 6455 has it."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", head(connection), re.IGNORECASE)
    assert found
    accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def then(*parts: bytes, for_ever: bytes = b"", reads: bool = True) -> Behaviour:
    """Shake hands, wait for a message, and send frames."""

    def behave(connection: socket.socket) -> None:
        agree(connection)
        if not reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        else:
            connection.recv(65536)
        for part in parts:
            connection.sendall(part)
        while for_ever:
            connection.sendall(for_ever * max(65536 // len(for_ever), 1))
        silent(connection)

    return behave


def text(data: bytes) -> bytes:
    size = len(data)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    return b"\x81" + length + data


UPGRADES: dict[str, tuple[Behaviour, set[str]]] = {
    "no upgrade": (saying(OK + b"Content-Length: 0\r\n\r\n"), WRONG),
    "a page without an end": (endless(b"HTTP/1.1 404 Not Found\r\n\r\n", b"x"), {"wrong", "timeout"}),
    "fields without an end": (endless(b"HTTP/1.1 101 S\r\n", b"X-A: b\r\n"), WRONG),
    "a line without an end": (endless(b"HTTP/1.1 101 ", b"S"), WRONG),
    "endless 100s": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), WRONG),
    "another key": (
        saying(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
        ),
        WRONG,
    ),
    "bad bytes": (saying(b"HTTP/1.1 101 \xff\xfe\r\n\xff: \xfe\r\n\r\n"), WRONG),
    "digits that are none": (saying(b"HTTP/1.1 \xb9\xb9\xb9 S\r\n\r\n"), WRONG),
    "an end": (hanging_up, {"empty", "reset"}),
    "silence": (silent, {"timeout"}),
    "a frame of absurd length": (then(b"\x81\x7f" + b"\x7f" + b"\xff" * 7), WRONG),
    "a frame of a length below zero": (then(b"\x81\x7f" + b"\xff" * 8), WRONG),
    "a frame of a GiB": (then(b"\x81\x7f" + struct.pack("!Q", 1 << 30), for_ever=b"x"), WRONG),
    "endless pings": (then(for_ever=b"\x89\x00"), {"timeout"}),
    "endless pings that nobody reads": (then(for_ever=b"\x89\x7d" + b"x" * 125, reads=False), {"timeout"}),
    "endless pongs": (then(for_ever=b"\x8a\x00"), {"timeout"}),
    "endless empty parts": (then(b"\x01\x00", for_ever=b"\x00\x00"), {"timeout", "wrong"}),
    "endless parts": (then(b"\x01\x00", for_ever=b"\x00\x7d" + b"x" * 125), WRONG),
    "endless messages": (then(for_ever=text(b"x" * 1000)), WRONG),
    "an unknown frame": (then(b"\x83\x00"), WRONG),
    "a compressed frame": (then(b"\xc1\x01x"), WRONG),
    "a masked frame": (then(b"\x81\x81\0\0\0\0x"), WRONG),
    "a long ping": (then(b"\x89\x7e\x01\x00" + b"x" * 256), WRONG),
    "a text that is none": (then(text(b"\xff\xff")), WRONG),
    "a text that is nested": (then(text(b"[" * 60_000)), WRONG),
    "a text that is no echo": (then(text(b'{"echo": "another"}')), WRONG),
    "half a close frame": (then(b"\x88\x01x"), WRONG),
    "a close frame without a code": (then(b"\x88\x00"), WRONG),
    "a close frame with a bad code": (then(b"\x88\x02\x00\x01"), WRONG),
    "a close frame that is no text": (then(b"\x88\x04\x03\xe8\xff\xff"), WRONG),
    "half a frame": (then(b"\x81\x7d"), {"timeout"}),
}


@pytest.mark.parametrize("kind", UPGRADES)
def test_whatever_a_websocket_brings_is_counted_as_a_loss(
    serve: Callable[[Behaviour], int], kind: str
) -> None:
    behave, expected = UPGRADES[kind]

    report = probe(serve(behave), "websocket:1@max")

    assert report["lost"] >= REQUESTS
    assert outcomes(report) <= expected


LOADS = ["pause:1@max,pause=0.01", "slow:1@max,seconds=0.01", "upload:1@max,chunks=2,seconds=0.01"]
LOADS += ["stream:1@max,chunks=2,interval=0.01", "persistent:1@max", "websocket:1@max", "one-shot:1@max"]


@pytest.mark.parametrize("load", LOADS)
def test_no_kind_of_client_is_held_up_by_what_has_no_end(
    serve: Callable[[Behaviour], int], load: str
) -> None:
    report = probe(serve(endless(OK + b"Content-Type: application/json\r\n\r\n", b"[")), load)

    assert report["requests"] == report["lost"] == REQUESTS
    assert outcomes(report) <= {"timeout", "wrong"}


def test_a_signal_is_heard_while_an_answer_has_no_end(serve: Callable[[Behaviour], int]) -> None:
    begun = threading.Event()

    def behave(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(OK + b"\r\n")
        begun.set()
        while True:
            connection.sendall(b"x" * 65536)

    url = f"http://127.0.0.1:{serve(behave)}/"
    command = [sys.executable, "-m", "sockact.probe", url, "one-shot:1@max", "--json", "--limit=1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=CHECKOUT) as process:
        assert begun.wait(LIMIT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)

    assert b"Traceback" not in err
    report = json.loads(out)
    assert report["requests"] == report["lost"]
    assert outcomes(report) == {"timeout"}


@pytest.mark.parametrize(
    "words",
    [
        ["http://127.0.0.1/\N{SNOWMAN}"],
        ["http://\N{SNOWMAN}/"],
        ["http://127.0.0.1/a b"],
        ["http://127.0.0.1/\r\nX: y"],
        ["http://127.0.0.1:99999/"],
        ["http://[::1/"],
        ["http://"],
        ["unix:relative"],
        ["http://127.0.0.1/", "one-shot:99999999@1"],
        ["http://127.0.0.1/", f"one-shot:{'9' * 5000}@1"],
        ["http://127.0.0.1/", "upload:1@max,chunks=9999999"],
        ["http://127.0.0.1/", "one-shot:1@."],
        ["http://127.0.0.1/", "--limit=nan"],
        ["http://127.0.0.1/", "--limit=inf"],
        ["http://127.0.0.1/", "--duration=-1"],
        ["http://127.0.0.1/", "--requests=0"],
        ["http://127.0.0.1/", f"--requests={'9' * 5000}"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_said_so(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 64
    assert capsys.readouterr().err


def test_a_path_that_no_socket_can_have_is_a_service_that_refuses(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sockact.probe", f"unix:{tmp_path}/{'x' * 200}", "--requests=1", "--json"],
        capture_output=True, text=True, cwd=CHECKOUT, timeout=LIMIT, check=False,
    )  # fmt: skip

    assert "Traceback" not in done.stderr
    assert outcomes(json.loads(done.stdout)) == {"refused"}
