"""Responses as bytes, and the refusal of those that no client could understand."""

from __future__ import annotations

from typing import Any

import pytest

from sockact.engines.http.response import HttpResponse, WrongResponse, early_hints, switching

ALWAYS = b"date: now\r\n"
TEXT = [(b"content-type", b"text/plain")]


def response(method: str = "GET", version: str = "1.1", *, persistent: bool = True) -> HttpResponse:
    return HttpResponse(method, version, persistent=persistent)


def whole(status: int = 200, fields: Any = (), body: bytes = b"hello", **request: Any) -> bytes:
    return response(**request).whole(status, fields, body, ALWAYS)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (whole(), b"200 OK|content-length: 5|date: now||hello"),
        (whole(fields=TEXT), b"200 OK|content-type: text/plain|content-length: 5|date: now||hello"),
        (whole(body=b""), b"200 OK|content-length: 0|date: now||"),
        (whole(persistent=False), b"200 OK|content-length: 5|date: now|connection: close||hello"),
        (whole(version="1.0"), b"200 OK|content-length: 5|date: now|connection: keep-alive||hello"),
        (whole(299), b"299 |content-length: 5|date: now||hello"),
        (whole(599), b"599 |content-length: 5|date: now||hello"),
        (whole(fields=[(b"Date", b"then")]), b"200 OK|Date: then|content-length: 5||hello"),
        # No body
        (whole(method="HEAD"), b"200 OK|content-length: 5|date: now||"),
        (whole(method="HEAD", body=b""), b"200 OK|date: now||"),
        (
            whole(method="HEAD", fields=[(b"Content-Length", b"9")], body=b""),
            b"200 OK|content-length: 9|date: now||",
        ),
        (whole(304, [(b"Content-Length", b"9")], b""), b"304 Not Modified|content-length: 9|date: now||"),
        (whole(204, [(b"Content-Length", b"0")]), b"204 No Content|date: now||"),
        # What is ours to say
        (whole(fields=[(b"Transfer-Encoding", b"chunked")]), b"200 OK|content-length: 5|date: now||hello"),
        (
            whole(fields=[(b"Connection", b"Close")]),
            b"200 OK|content-length: 5|date: now|connection: close||hello",
        ),
        (
            whole(426, [(b"connection", b"upgrade, keep-alive"), (b"upgrade", b"x")]),
            b"426 Upgrade Required|connection: upgrade|upgrade: x|content-length: 5|date: now||hello",
        ),
    ],
)
def test_a_response_in_one_piece(found: bytes, expected: bytes) -> None:
    assert found == b"HTTP/1.1 " + expected.replace(b"|", b"\r\n")


def parts(fields: Any = (), *sent: bytes, **request: Any) -> tuple[bytes, bool]:
    made = response(**request)
    data = made.begin(200, fields, b"") + b"".join(map(made.part, sent)) + made.end()
    return data.replace(b"\r\n", b"|"), made.last


def test_a_response_in_parts() -> None:
    assert parts((), b"a", b"", b"bc") == (
        b"HTTP/1.1 200 OK|transfer-encoding: chunked||1|a|2|bc|0||",
        False,
    )
    assert parts([(b"content-length", b"3")], b"a", b"bc") == (
        b"HTTP/1.1 200 OK|content-length: 3||abc",
        False,
    )
    assert parts((), b"a", method="HEAD") == (b"HTTP/1.1 200 OK||", False)


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    assert parts((), b"a", b"bc", version="1.0") == (b"HTTP/1.1 200 OK|connection: close||abc", True)


def test_trailers_come_after_the_chunks() -> None:
    made = response()
    made.begin(200, (), b"")

    assert made.end([(b"x-sum", b"1")]) == b"0\r\nx-sum: 1\r\n\r\n"


WRONG: dict[str, tuple[int, Any, bytes]] = {
    "status 99": (99, (), b""),
    "status 101": (101, (), b""),
    "status 999": (999, (), b""),
    "a line end in a value": (200, [(b"a", b"b\r\nc: d")], b""),
    "a line feed in a value": (200, [(b"a", b"b\nc: d")], b""),
    "a null byte": (200, [(b"a", b"\0")], b""),
    "a colon in a name": (200, [(b"a: b\r\nc", b"d")], b""),
    "an empty name": (200, [(b"", b"d")], b""),
    "a name that is text": (200, [("a", b"d")], b""),
    "too short": (200, [(b"content-length", b"5")], b"four"),
    "too long": (200, [(b"content-length", b"3")], b"four"),
    "two lengths": (200, [(b"content-length", b"4"), (b"Content-Length", b"5")], b"four"),
    "a length that is none": (200, [(b"content-length", b"4x")], b"four"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_response_is_refused_and_another_can_be_sent(case: str) -> None:
    made = response()
    with pytest.raises(WrongResponse):
        made.whole(*WRONG[case], ALWAYS)

    assert not made.begun
    assert made.whole(500, (), b"sorry", b"").startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("wrong", [lambda made: made.part(b"four"), lambda made: made.end()])
def test_a_body_that_does_not_fit_its_length_is_refused(wrong: Any) -> None:
    made = response()
    made.begin(200, [(b"content-length", b"3")], b"")

    with pytest.raises(WrongResponse):
        wrong(made)


def test_other_heads_are_checked_as_well() -> None:
    assert (
        early_hints([b"</a>; rel=preload"])
        == b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
    )
    for make in (lambda: early_hints([b"a\r\nb"]), lambda: switching([(b"a", b"b\r\nc")], b"")):
        with pytest.raises(WrongResponse):
            make()
