import asyncio

import pytest

from sockact.probe.exchange import Response, ResponseReader, check
from sockact.probe.outcome import Outcome, UnservedError
from sockact.probe.record import Identity


class Wire:
    """Gives these bytes one by one, which no parser must mind, and then the end of the stream."""

    def __init__(self, data):
        self._data = list(data)

    async def receive(self):
        return bytes([self._data.pop(0)]) if self._data else b""


def read(data):
    return asyncio.run(ResponseReader(Wire(data)).response())


@pytest.mark.parametrize(
    ("data", "body", "persistent"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", b"hi", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\n\r\n",
            b"hi",
            True,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-End: 1\r\n\r\n",
            b"hi",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
    ],
)
def test_a_complete_response_is_read_by_its_own_framing(data, body, persistent):
    found = read(data)

    assert (found.body, found.persistent) == (body, persistent)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", Outcome.EMPTY),
        (b"H", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\n", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhi\r\n0\r\n\r\n", Outcome.WRONG),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Outcome.WRONG),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", Outcome.WRONG),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome.WRONG),
    ],
)
def test_what_is_not_complete_is_no_response(data, outcome):
    with pytest.raises(UnservedError) as caught:
        read(data)

    assert caught.value.outcome is outcome


def answer(body, status=200, **fields):
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(status, {"content-type": "application/json", **names}, body, persistent=True)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(b"{}"), Identity(None, None)),
        (answer(b"[1]"), Identity(None, None)),
        (answer(b'{"version": "1", "pid": 42}'), Identity("1", 42)),
        (answer(b"{}", x_version="1", x_pid="42"), Identity("1", 42)),
        (answer(b"text", content_type="text/plain", x_version="1", x_pid="42"), Identity("1", 42)),
        (answer(b'{"version": "1", "pid": 42}', x_version="1", x_pid="42"), Identity("1", 42)),
    ],
)
def test_a_correct_response_tells_who_gave_it(response, expected):
    assert check(response) == expected


@pytest.mark.parametrize(
    "response",
    [
        answer(b"{}", status=302),
        answer(b"{}", status=503),
        answer(b"{"),
        answer(b'{"version": "2", "pid": 43}', x_version="1", x_pid="42"),
    ],
)
def test_a_response_which_contradicts_itself_is_wrong(response):
    with pytest.raises(UnservedError) as caught:
        check(response)

    assert caught.value.outcome is Outcome.WRONG


def test_a_large_json_document_is_a_correct_response():
    fields = {"content-type": "application/json", "x-pid": "42"}

    assert check(Response(200, fields, b"[1, 2", persistent=True, cut=True)) == Identity(None, 42)
