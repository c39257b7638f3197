"""WSGI behaviours under `wsgiref.validate` of the standard library, over TCP and a Unix socket."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from sockact.sockets.fds import Listener
from tests.conformance.apps.validated_app import BEHAVIOURS, LONG
from tests.conformance.serving import listening_on, serving, start, where
from tests.support.http_client import Client, Where
from tests.support.manager import Manager, wait_until

LINES = b"first\nsecond\nthird\nfourth without an end"


@dataclass(frozen=True)
class Case:
    """A request, and the response that is expected."""

    name: str
    body: bytes
    status: int = 200
    sent: bytes | Iterable[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str | None] = field(default_factory=dict)
    counted: bool = False
    """Whether the app says the length, or returns a list, of which it is known without the validator."""

    def __str__(self) -> str:
        how = "" if self.sent is None else f" {'whole' if isinstance(self.sent, bytes) else 'chunked'}"
        return self.name + how + (f" {len(self.body)}" if self.sent else "")


def whole_and_chunked(name: str, body: bytes, sent: bytes) -> Iterator[Case]:
    yield Case(name, body, sent=sent)
    yield Case(name, body, sent=tuple(sent[begin : begin + 5000] for begin in range(0, len(sent), 5000)))


CASES = (
    Case("returned_list", b"one, two", counted=True),
    Case("one_part", b"hello", counted=True),
    Case("with_length", b"hello", counted=True),
    Case("generator", b"".join(b"%d\n" % number for number in range(100))),
    Case("generator_with_length", LONG, counted=True),
    Case("empty_parts", b"after nothing"),
    Case("iterator", b"abc"),
    Case("long_list", LONG, counted=True),
    Case("written", b"written, returned"),
    Case("only_written", LONG),
    Case("empty", b"", counted=True),
    Case("empty_with_length", b"", counted=True),
    Case("replaced", b"sorry", 503, expected={"x-first": None}),
    Case("replaced_in_time", b"sorry", 503, counted=True),
    Case("no_content", b"", 204, expected={"content-length": None, "transfer-encoding": None}),
    Case("not_modified", b"", 304, expected={"etag": '"1"', "transfer-encoding": None}),
    Case("own_reason", b"nothing here", 404),
    Case("cookies", b"two cookies", expected={"set-cookie": "b=2"}),
    Case("latin_1", b"a name", expected={"x-name": "wörld"}),
    Case("file", LONG, counted=True),
    Case("file_in_memory", LONG),
    Case("errors", b"said"),
    Case(
        "names?a=%20&b",
        b"['', 'a=%20&b', 'HTTP/1.1', 'one,two', 'text/x']",
        headers={"X-List": "one,two", "Content-Type": "text/x"},
    ),
    *whole_and_chunked("read_all", b"POST 5 hello", b"hello"),
    *whole_and_chunked("read_all", b"POST %d %b" % (len(LONG), LONG[-10:]), LONG),
    *whole_and_chunked("read_all", b"POST 0 ", b""),
    *whole_and_chunked("read_in_parts", b"%d" % len(LONG), LONG),
    *whole_and_chunked("read_lines", b"first\n|sec|ond\n|third\n|fourth without an end|", LINES),
    *whole_and_chunked("read_by_iteration", b"4 lines", LINES),
    *whole_and_chunked("reads_nothing", b"not read", b"something"),
    *whole_and_chunked("reads_nothing", b"not read", LONG),
    *whole_and_chunked("read_while_written", b"begun, %d" % len(LONG), LONG),
)


def ask(client: Client, method: str, how: str, case: Case) -> None:
    """Send a request, and check the response; then see that the connection is in step."""
    client.request(method, f"/{how}/{case.name}", case.sent, case.headers)
    answer = client.read(head_only=method == "HEAD")

    assert (answer.status, answer.body) == (case.status, b"" if method == "HEAD" else case.body)
    assert {name: answer.headers.get(name) for name in case.expected} == case.expected
    if case.counted and how == "plain" and answer.body:
        assert answer.headers["content-length"] == f"{len(case.body)}"
    assert not answer.closes
    assert client.get("/plain/one_part").text == "hello"


@pytest.fixture(scope="module", params=["TCP", "Unix socket"])
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Where]:
    """Serve all behaviours on a socket until the end of the module; nothing may be logged."""
    folder = tmp_path_factory.mktemp("wsgi")
    listener = listening_on(request.param, folder)
    with serving(listener, folder / "stderr.log", "validated") as manager:
        yield where(listener)
        log = manager.stderr()
    for complaint in ("Traceback", "WSGIWarning", "garbage collected without being closed"):
        assert complaint not in log


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_validator_finds_nothing(web: Where, case: Case, passed: Callable[..., None]) -> None:
    methods = ["GET", "HEAD"] if case.sent is None else ["POST"]
    with Client(web) as client:
        for method in methods:
            ask(client, method, "validated", case)

    passed("wsgiref.validate", platform.python_version(), "requests to WSGI apps", len(methods))


@pytest.mark.parametrize("case", [*CASES, Case("late_start", b"late")], ids=str)
def test_the_same_is_served_without_the_validator(web: Where, case: Case) -> None:
    with Client(web) as client:
        for method in ["GET", "HEAD"] if case.sent is None else ["POST"]:
            ask(client, method, "plain", case)


@pytest.mark.parametrize("how", ["validated", "plain"])
def test_each_response_is_closed_once(web: Where, how: str) -> None:
    with Client(web) as client:
        for method in ("GET", "HEAD", "GET"):
            before = int(client.get("/plain/what_was_closed").text)
            ask(client, method, how, Case("closes", b"to be closed"))
            wait_until(lambda before=before: int(client.get("/plain/what_was_closed").text) > before)
            assert int(client.get("/plain/what_was_closed").text) == before + 1


def test_all_behaviours_are_asked_for() -> None:
    asked = {case.name.partition("?")[0] for case in CASES}

    assert asked | {"late_start", "closes", "what_was_closed", "wrong"} == set(BEHAVIOURS)


def test_a_complaint_of_the_validator_is_seen(manager: Manager, listener: Listener) -> None:
    start(manager, listener, "validated")
    with Client(listener) as client:
        assert client.get("/validated/wrong").status == 500

    assert "AssertionError" in manager.stderr()
