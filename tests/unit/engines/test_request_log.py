"""The access log and the ids of requests: one record for each request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
import uvloop

from sockact.config.access_format import ATOMS
from sockact.config.records import REQUEST_ID, RecordKind, facts_of
from sockact.config.settings import Settings
from sockact.engines.http import request_log
from sockact.engines.http.engine import HttpEngine
from sockact.engines.http.head import Request
from sockact.engines.http.request_log import LONGEST_VALUE, RequestLog
from sockact.engines.http.websocket_carried import MovedWebSocket, packed, unpacked

LIMIT = 120.0
"""Seconds that a test waits before it gives up."""

HOSTILE = b'a"\\\x1b[31m\xff\xe2\x80\xaeb'
"""No line end: the parser refuses that in a field."""


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


class Records(logging.Handler):
    """Keeps the text and the facts of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.facts: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.facts.append(facts_of(record))

    def brief(self) -> list[tuple[Any, ...]]:
        """Return method, target, status, bytes, and whether it was cut off, of each."""
        names = ("method", "target", "status", "bytes", "aborted")
        return [tuple(each.get(name) for name in names) for each in self.facts]


@contextlib.contextmanager
def kept(name: str) -> Iterator[Records]:
    logger, handler = logging.getLogger(name), Records()
    before = logger.level, logger.propagate, logger.handlers
    logger.setLevel(logging.INFO)
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield handler
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers = before[1:]


@pytest.fixture
def records() -> Iterator[Records]:
    with kept("sockact.access") as found:
        yield found


@pytest.fixture
def errors() -> Iterator[Records]:
    with kept("sockact.engines.http") as found:
        yield found


async def websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": "hello"})
    await send({"type": "websocket.close"})


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    if path == "/fail":
        raise RuntimeError("fails")
    if path == "/hang":
        await receive()
        await receive()
        return
    headers = [(b"X-Request-Id", b"own")] if path == "/own" else [(b"x-app", b"theirs")]
    if path == "/id":
        logging.getLogger("sockact.engines.http").info("in the app")
        headers.append((b"x-seen", scope["state"].get("sockact.request_id", "none").encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path.startswith("/stream"):
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"four", "more_body": True})
        if path == "/stream/fail":
            raise RuntimeError("fails")
        while path == "/stream/endless":
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b"hello" * (not path.startswith("/stream"))})


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("fails")
    logging.getLogger("sockact.engines.http").info("in the app")
    seen = environ.get("sockact.request_id", "none")
    start_response("200 OK", [("X-Seen", seen), ("X-Context", REQUEST_ID.get())])

    def parts() -> Iterator[bytes]:
        yield b"four"
        logging.getLogger("sockact.engines.http").info("in a part")
        yield b"four"

    return parts() if environ["PATH_INFO"] == "/stream" else [b"hello"]


def answer(data: bytes, *, app: Any = asgi, leaves_at: bytes | None = None, **settings: Any) -> bytes:
    """Return the answers to `data`; with `leaves_at` the client closes when it has read that."""

    async def run() -> bytes:
        chosen = Settings(linger=0.0, lifespan="off", **{"access_log": True, **settings})
        engine = HttpEngine(app, "wsgi" if app is wsgi else "asgi", [], chosen)
        await engine.start()
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        found = b""
        with ours:
            ours.setblocking(False)
            theirs.setblocking(False)
            engine.receive(theirs)
            async with asyncio.timeout(LIMIT):
                await loop.sock_sendall(ours, data)
                if leaves_at is None:
                    ours.shutdown(socket.SHUT_WR)
                while leaves_at is None or leaves_at not in found:
                    if not (part := await loop.sock_recv(ours, 65536)):
                        break
                    found += part
        async with asyncio.timeout(LIMIT):
            await engine.wait_drained()  # all are answered, and closed
            engine.stop_accepting()
            await engine.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


BIG = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

ONE = {
    "a whole response": (get("/a?b=c"), {}, ("GET", "/a?b=c", 200, 5, None)),
    "HEAD": (get(method="HEAD"), {}, ("HEAD", "/", 200, 0, None)),
    "HTTP/1.0": (get(version="1.0"), {}, ("GET", "/", 200, 5, None)),
    "a stream": (get("/stream"), {}, ("GET", "/stream", 200, 12, None)),
    "a stream of HTTP/1.0": (get("/stream", version="1.0"), {}, ("GET", "/stream", 200, 12, None)),
    "an app that fails": (get("/fail"), {}, ("GET", "/fail", 500, 21, None)),
    "one that fails in its response": (get("/stream/fail"), {}, ("GET", "/stream/fail", 200, 12, True)),
    "no request": (b"nonsense\r\n\r\n", {}, ("nonsense", "-", 400, 11, None)),
    "an empty method": (b"\x00\r\n\r\n", {}, ("-", "-", 400, 11, None)),
    "a long head": (get("/", "x: " + "y" * 200), {"max_header_bytes": 100}, ("GET", "/", 431, 31, None)),
    # Its text is that of RFC 9110 from Python 3.13 on, and that of RFC 7231 before.
    "a long body": (BIG, {"max_body_bytes": 3}, ("POST", "/", 413, len(HTTPStatus(413).phrase), None)),
    "a health check": (get("/live"), {"live_path": "/live"}, ("GET", "/live", 200, 5, None)),
    "a handshake without a key": (
        get("/ws", "Upgrade: websocket", "Connection: upgrade"),
        {},
        ("GET", "/ws", 400, None, None),
    ),
}


@pytest.mark.parametrize("case", ONE.values(), ids=ONE)
def test_each_request_has_one_record(
    case: tuple[bytes, dict[str, Any], tuple[Any, ...]], records: Records
) -> None:
    data, settings, expected = case

    received = answer(data, **settings)

    (found,) = records.brief()
    assert received.startswith(b"HTTP/1.1 %d" % expected[2])
    assert found[:3] == expected[:3]
    assert found[4] == expected[4]
    assert expected[3] in (None, found[3])
    assert records.facts[0]["message_id"] == RecordKind.REQUEST


def test_requests_of_one_connection_are_logged_in_their_order(records: Records) -> None:
    answer(get("/1") + get("/stream") + get("/3"))

    assert [each["target"] for each in records.facts] == ["/1", "/stream", "/3"]


@pytest.mark.parametrize(
    ("data", "leaves_at", "status"),
    [
        (get("/hang", "Content-Length: 9", method="POST") + b"body", b"", 499),
        (get("/stream/endless"), b"four", 200),
    ],
)
def test_a_request_whose_client_goes_is_logged_as_cut_off(
    data: bytes, leaves_at: bytes, status: int, records: Records
) -> None:
    answer(data, leaves_at=leaves_at)

    (found,) = records.facts
    assert (found["status"], found["aborted"]) == (status, True)


def test_what_a_drain_cuts_off_is_said_with_its_request(records: Records, errors: Records) -> None:
    async def cut_off() -> None:
        settings = Settings(lifespan="off", access_log=True, request_id="X-Request-ID")
        engine = HttpEngine(asgi, "asgi", [], settings)
        await engine.start()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        engine.receive(theirs)
        with ours:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(ours, get("/stream/endless"))
            async with asyncio.timeout(LIMIT):
                await loop.sock_recv(ours, 1)
            engine.stop_accepting()
            await engine.abort()
            async with asyncio.timeout(LIMIT):
                await engine.wait_drained()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cut_off())

    (asked,), (aborted,) = records.facts, errors.facts
    assert aborted["message_id"] == RecordKind.CONNECTION_ABORTED
    assert aborted["request_id"] == asked["request_id"]
    assert (asked["status"], asked["aborted"]) == (200, True)


def test_a_websocket_is_logged_at_its_end(records: Records) -> None:
    fields = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    message = b"\x81\x80\0\0\0\0"
    received = answer(get("/ws", *fields, key) + message, leaves_at=b"hello", request_id="X-Request-ID")

    assert b"x-request-id: " in received
    (found,) = records.facts
    assert (found["status"], found["target"]) == (101, "/ws")
    assert found["bytes"] >= len("hello")
    assert found["request_id"]


def test_an_app_that_fails_is_logged_with_its_request(records: Records, errors: Records) -> None:
    for app in (asgi, wsgi):
        answer(get("/fail"), app=app, request_id="X-Request-ID")

    assert [each["message_id"] for each in errors.facts] == [RecordKind.REQUEST_FAILED] * 2
    assert [each["request_id"] for each in errors.facts] == [each["request_id"] for each in records.facts]


def field(received: bytes, name: str) -> str:
    found = re.findall(rf"^{name}: (.*)\r$", received.decode("latin-1"), re.MULTILINE | re.IGNORECASE)
    return ",".join(found)


ID = "x-request-id"
MADE = re.compile("[0-9a-f]{32}")


@pytest.mark.parametrize("app", [asgi, wsgi])
def test_an_id_is_in_the_scope_the_response_and_every_record(
    app: Any, records: Records, errors: Records
) -> None:
    received = answer(get("/id"), app=app, request_id="X-Request-ID")

    made = field(received, ID)
    assert MADE.fullmatch(made)
    assert field(received, "x-seen") == made
    assert [each["request_id"] for each in records.facts + errors.facts] == [made, made]
    assert REQUEST_ID.get() == ""


def test_a_part_of_a_wsgi_response_is_of_its_request(errors: Records) -> None:
    received = answer(get("/stream"), app=wsgi, request_id="X-Request-ID", access_log=False)

    assert errors.lines == ["in the app", "in a part"]
    assert {each["request_id"] for each in errors.facts} == {field(received, ID)}


def test_each_request_of_a_connection_has_an_id_of_its_own(records: Records) -> None:
    answer(get("/1") + get("/2") + b"nonsense\r\n\r\n", request_id="X-Request-ID")

    assert len({each["request_id"] for each in records.facts}) == 3


@pytest.mark.parametrize(
    ("given", "trusted", "taken"),
    [
        (("X-Request-ID: abc-1.2_3~4+5/6=7:8@9",), True, True),
        (("x-request-id: " + "a" * 128,), True, True),
        (("X-Request-ID: abc",), False, False),
        (("X-Request-ID: " + "a" * 129,), True, False),
        (("X-Request-ID: a b",), True, False),
        (('X-Request-ID: a"b',), True, False),
        (("X-Request-ID: a\x1b[2J",), True, False),
        (("X-Request-ID: \xe9",), True, False),
        (("X-Request-ID:",), True, False),
        (("X-Request-ID: a", "X-Request-ID: b"), True, False),
    ],
)
def test_only_a_trusted_proxys_id_is_taken_and_only_a_harmless_one(
    given: tuple[str, ...], trusted: bool, taken: bool, records: Records
) -> None:
    proxies = ("unix",) if trusted else ()
    received = answer(get("/id", *given), request_id="X-Request-ID", trusted_proxies=proxies)

    if field(received, ID):  # the parser takes ESC in no field
        expected = given[0].partition(": ")[2]
        assert (field(received, ID) == expected) is taken
        assert taken or MADE.fullmatch(field(received, ID))
        assert records.facts[0]["request_id"] == field(received, "x-seen") or "\x1b" in given[0]


def test_the_id_that_an_app_sends_itself_is_the_clients(records: Records) -> None:
    assert field(answer(get("/own"), request_id="X-Request-ID"), ID) == "own"


def test_without_the_setting_there_is_no_id(records: Records) -> None:
    received = answer(get("/id", "X-Request-ID: abc"), trusted_proxies=("unix",))

    assert field(received, ID) == ""
    assert field(received, "x-seen") == "none"
    assert "request_id" not in records.facts[0]


def test_a_websocket_that_moves_keeps_its_id_and_no_client_can_give_one() -> None:
    fields = [(b"host", b"a"), (b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    request = Request("GET", b"/", "1.1", [*fields, (b"sockact-request-id", b"forged")])
    assert unpacked(packed(MovedWebSocket(request, None, None, b"", b"")), 1000).request.id == ""
    request.id = "abc"
    moved = unpacked(packed(MovedWebSocket(request, None, None, b"", b"")), 1000).request

    assert moved.id == "abc"
    assert moved.headers == fields


def line(form: str, records: Records, data: bytes = b"") -> str:
    answer(data or get("/a?b", "X-Header: theirs"), access_log_format=form)
    return records.lines[0]


def test_a_line_has_gunicorns_atoms(records: Records) -> None:
    basic = "Authorization: Basic " + "bWU6c2VjcmV0"
    data = get("/a?b=c", "User-Agent: me", "Referer: http://a/", "X-Header: theirs", basic)
    form = (
        " ".join(f"%({atom})s" for atom in ATOMS if atom not in "tTMDLp")
        + " %({X-Header}i)s %({X-App}o)s %%"
    )
    found = line(form, records, data)

    assert found == (
        "- - me GET /a?b=c HTTP/1.1 GET /a b=c HTTP/1.1 200 5 5 http://a/ me - theirs theirs %"
    )
    assert "secret" not in found


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("t", r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"),
        ("T", r"\d+"),
        ("M", r"\d+"),
        ("D", r"\d+"),
        ("L", r"\d+\.\d{6}"),
        ("p", r"<\d+>"),
    ],
)
def test_times_have_their_units(atom: str, expected: str, records: Records) -> None:
    assert re.fullmatch(expected, line(f"%({atom})s", records))


def test_no_client_can_forge_a_line_or_a_part_of_one(records: Records) -> None:
    target = b"/" + HOSTILE.replace(b"\x1b", b"") + b"x" * 5000
    data = b"GET %b HTTP/1.1\r\nHost: a\r\nUser-Agent: %b\r\n\r\n" % (
        target,
        HOSTILE.replace(b"\x1b", b"\t") * 900,
    )
    found = line('"%(r)s" "%(a)s" %(U)s', records, data)

    assert found.isprintable()
    assert len(re.findall(r'(?<!\\)(?:\\\\)*"', found)) == 4
    assert len(found) < 20 * LONGEST_VALUE
    facts = records.facts[0]
    assert all(str(facts[name]).isprintable() for name in ("target", "user_agent"))
    assert facts["target"].endswith("…")


@pytest.mark.parametrize(
    "form", ["", "%(x)s", "%(h)", "%h", "100%", "%({a}e)s", "%({}i)s", "%(h)s\n%(a)s", "x" * 2000, "%(h)x"]
)
def test_a_format_with_what_is_unknown_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        request_log_format(form)


def test_gunicorns_own_format_is_understood(records: Records) -> None:
    form = request_log_format('%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"')
    found = line(form, records)

    assert re.fullmatch(r'- - - \[[^]]+\] "GET /a\?b HTTP/1.1" 200 5 "-" "-"', found)


def request_log_format(form: str) -> str:
    from sockact.config.access_format import access_format

    return access_format(form)


def test_every_atom_has_its_meaning() -> None:
    assert set(request_log._PARTS) == set(ATOMS)


def test_without_the_access_log_and_ids_there_is_nothing_to_ask() -> None:
    def log_of(**settings: Any) -> RequestLog | None:
        async def made() -> RequestLog | None:
            return HttpEngine(asgi, "asgi", [], Settings(**settings))._shared.request_log

        return asyncio.run(made())

    assert log_of() is None
    assert log_of(access_log=True) is not None
    assert log_of(request_id="X-Id") is not None
