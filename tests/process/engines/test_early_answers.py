"""Responses that are complete before the request is: the rest of the body is read, and discarded."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from tests.support.http_client import LIMIT, Client
from tests.support.served import Served, served

SIZE = 20_000_000
"""Of a body, in bytes: more than the service and the kernel keep."""

PART = 1 << 16
FRAMINGS = {"whole": f"Content-Length: {SIZE}\r\n", "chunked": "Transfer-Encoding: chunked\r\n"}
counter = itertools.count()


@pytest.fixture(
    scope="module",
    params=itertools.product(["contrary_wsgi", "contrary_asgi"], ["uvloop", "asyncio"]),
    ids=" ".join,
)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    app, loop = request.param
    with served(tmp_path_factory.mktemp("early"), app, f"--loop={loop}") as running:
        yield running


def pieces(framing: str) -> bytes:
    """Return a whole body."""
    if framing == "whole":
        return bytes(SIZE)
    part = b"%x\r\n%b\r\n" % (PART, bytes(PART))
    return SIZE // PART * part + b"0\r\n\r\n"


def send_until_full(client: Client, body: memoryview) -> int:
    """Send until nobody reads on; return how much was sent."""
    client.sock.settimeout(1)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(body):
            sent += client.sock.send(body[sent : sent + PART])
    client.sock.settimeout(LIMIT)
    return sent


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_rest_of_a_body_that_the_app_does_not_read_may_follow_its_response(
    service: Served, framing: str
) -> None:
    key, body = f"k{next(counter)}", memoryview(pieces(framing))
    with service.client() as client:
        client.send(f"POST /held?{key} HTTP/1.1\r\nHost: test\r\n{FRAMINGS[framing]}\r\n")
        sent = send_until_full(client, body)
        assert sent < len(body)
        service.wait_noted(f"begun-{key}")
        service.let_go(key)
        answer = client.read()
        assert (answer.text, answer.closes) == ("held", False)

        client.sock.sendall(body[sent:])

        assert client.get("/hello").text == "hello"
