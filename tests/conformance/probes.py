"""The same questions to the app of each framework, on a connection that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from websockets.sync.client import connect

from tests.conformance.apps.common import LARGE, PARTS
from tests.support.http_client import Answer, Client
from tests.support.manager import LIMIT

UPLOAD = 2_000_000
PIECES = 50
PIECE = 2_000

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}


def ask(
    client: Client,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask on a connection that both sides keep."""
    client.request(method, path, body, headers or {})
    answer = client.read(head_only=method == "HEAD")
    assert not answer.closes, answer
    return answer


def plain(client: Client) -> None:
    answer = ask(client, "GET", "/plain")

    assert (answer.status, answer.text) == (200, "hello")


def head(client: Client) -> None:
    answer = ask(client, "HEAD", "/plain")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers.get("content-length", "5") == "5"


def form(client: Client) -> None:
    answer = ask(client, "POST", "/form", b"name=w%C3%B6rld+%26+co", FORM)

    assert (answer.status, answer.text) == (200, "hello wörld & co")


def in_json(client: Client) -> None:
    value = {"numbers": [1, 2.5, None], "text": "wörld"}

    answer = ask(client, "POST", "/json", json.dumps(value).encode(), JSON)

    assert (answer.status, answer.json) == (200, value)


def missing(client: Client) -> None:
    assert ask(client, "GET", "/missing").status == 404


def wrong_method(client: Client) -> None:
    assert ask(client, "DELETE", "/form").status == 405


def fails(client: Client) -> None:
    assert ask(client, "GET", "/fails").status == 500


def nothing(client: Client) -> None:
    answer = ask(client, "GET", "/nothing")

    assert (answer.status, answer.headers.get("transfer-encoding")) == (204, None)


def stream(client: Client) -> None:
    answer = ask(client, "GET", "/stream")

    assert (answer.status, answer.text) == (200, "".join(PARTS))


def upload(client: Client) -> None:
    answer = ask(client, "POST", "/length", bytes(UPLOAD), BYTES)

    assert (answer.status, answer.text) == (200, f"{UPLOAD}")


def upload_in_chunks(client: Client) -> None:
    answer = ask(client, "POST", "/length", [bytes(PIECE)] * PIECES, BYTES)

    assert (answer.status, answer.text) == (200, f"{PIECE * PIECES}")


def download(client: Client) -> None:
    answer = ask(client, "GET", "/large")

    assert answer.status == 200
    assert answer.body == LARGE


def query(client: Client) -> None:
    answer = ask(client, "GET", "/query?first=1&name=w%C3%B6rld%20%26+co%3F&last=")

    assert (answer.status, answer.text) == (200, "wörld & co?")


def path(client: Client) -> None:
    answer = ask(client, "GET", "/path/w%C3%B6rld%20%26+co%3F")

    assert (answer.status, answer.text) == (200, "wörld &+co?")


PROBES: tuple[Callable[[Client], None], ...] = (
    *(plain, head, form, in_json, missing, wrong_method, fails, nothing),
    *(stream, upload, upload_in_chunks, download, query, path),
)
"""Each sends one request, and checks the answer."""


def websocket(address: str) -> None:
    """Open a WebSocket, send messages that must come back, and close it."""
    with connect(f"ws://{address}/echo", proxy=None, open_timeout=LIMIT, close_timeout=LIMIT) as socket:
        for text in ("", "wörld", "x" * 100_000):
            socket.send(text)
            assert socket.recv(timeout=LIMIT) == text
