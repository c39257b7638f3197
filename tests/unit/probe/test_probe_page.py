"""The page of a run: everything on it comes from the run, nothing from elsewhere, and it stays small."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from sockact.probe.account import Account, Ledger
from sockact.probe.outcome import Outcome
from sockact.probe.page.columns import MAX_COLUMNS, MAX_GROUPS, columns, groups_of, merged
from sockact.probe.page.document import render
from sockact.probe.record import NOBODY, Identity, Mark, Record, RequestKind
from sockact.probe.report import document, verdict
from sockact.probe.run import Result
from sockact.probe.spec import parse_spec

WHEN = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
RELOAD = Mark("reload", 2.0, 2.3, 0, "")
SPEC = parse_spec("persistent:4@250")


class Page(HTMLParser):
    """The elements of a page, and whether each is closed."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def result(
    seconds: float = 5.0, rate: int = 100, *, losing: bool = False, marks: tuple[Mark, ...] = (RELOAD,)
) -> Result:
    ledger = Ledger({SPEC.label: Account()}, frozenset({SPEC.label}))
    course = ledger.record.opened("persistent 1", 0.0)
    for number in range(int(seconds * rate)):
        due = number / rate
        who = Identity("1", 41 if due < 2.2 else 42)
        outcome = Outcome.RESET if losing and number % 50 == 7 else Outcome.OK
        ledger.begin(SPEC.label, due)
        ledger.end(SPEC.label, due, due + 0.002, outcome, "recv: ECONNRESET", who)
        course.answered(due, who)
    for _ in range(2 * len(marks) + 1):
        ledger.cut(seconds)
    return Result(ledger, seconds, 0.01, marks)


def page(found: Result, url: str = "http://127.0.0.1:8000/", about: str = "") -> str:
    return render(document(url, [SPEC], found), found, WHEN, about)


def test_the_title_is_the_result() -> None:
    assert "<title>0 of 500 requests lost</title>" in page(result())
    assert "<title>10 of 500 requests lost</title>" in page(result(losing=True))


def test_it_is_well_formed_and_needs_nothing_else() -> None:
    for found in (result(), result(losing=True), result(marks=())):
        text = page(found)
        for tag, attributes in Page(text).elements:
            assert tag not in ("link", "img", "iframe", "object")
            assert not {"src", "href", "style"} & set(attributes)
        assert not re.search(r"url\((?!#hatch\))|@import|https?://(?!127\.0\.0\.1)", text)
        assert "default-src 'none'" in text


def test_a_minute_of_a_thousand_requests_a_second_is_a_small_page() -> None:
    assert len(page(result(60.0, 1000, losing=True))) < 200_000


def test_it_does_not_depend_on_colours_alone() -> None:
    text = page(result(losing=True))

    assert ".lost { fill: url(#hatch);" in text
    assert re.search(r"<li>.*</svg>lost</li>", text)
    assert re.search(r"<li>.*</svg>answered by version 1, PID 42</li>", text)


def test_light_and_dark_have_the_same_colours_by_name() -> None:
    text = page(result())
    parts = text.split("prefers-color-scheme: dark")
    light, dark = (set(re.findall(r"(--[\w-]+):", part)) for part in parts)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))

    assert light == dark == used | {f"--c{number}" for number in range(8)}


def test_every_mark_can_be_focused_and_says_what_it_shows() -> None:
    elements = Page(page(result())).elements
    stops = [attributes for _, attributes in elements if "stop" in (attributes.get("class") or "").split()]

    assert len(stops) == 101
    assert {stop["role"] for stop in stops} == {"listitem"}
    assert [stop["tabindex"] for stop in stops].count("0") == 1
    text = page(result())
    assert "<title>2.20 to 2.25 s: 5 requests, 0 lost (5 version 1, PID 42); median 2.0 ms" in text
    assert "<title>persistent 1: 1 connection, open until the end</title>" in text


def test_all_figures_are_in_tables_too() -> None:
    text = page(result(losing=True))

    assert text.count('<th scope="row">reload (300 ms)</th>') == 1
    assert "The picture in figures" in text
    assert "recv: ECONNRESET" in text


def test_what_others_have_written_is_shown_as_text() -> None:
    evil = "</title><script>alert(1)</script>"
    ledger = Ledger({SPEC.label: Account()}, frozenset({SPEC.label}))
    who = Identity(evil, None)
    for outcome in (Outcome.OK, Outcome.WRONG):
        ledger.begin(SPEC.label, 0.0)
        ledger.end(SPEC.label, 0.0, 0.1, outcome, evil, who)
    ledger.saw(who, 0.1)
    ledger.record.opened(evil, 0.0).answered(0.1, who)
    text = page(
        Result(ledger, 1.0, 0.1, (Mark(evil, 0.2, 0.3, 1, evil),)), f"http://127.0.0.1/{evil}", evil
    )

    assert evil not in text
    assert text.count("<script>") == 1


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.004, 1.0, 3599.0])
def test_a_run_of_any_length_can_be_drawn(seconds: float) -> None:
    found = Result(Ledger({SPEC.label: Account()}, frozenset()), seconds, None)

    assert "Not every client was served" in page(found)


def test_columns_have_every_request_once() -> None:
    found = result(5.03, 100, losing=True)
    divided = columns(found.ledger, found.seconds, groups_of(found.ledger.record))

    assert sum(column.requests for column in divided) == 503
    assert sum(column.lost for column in divided) == 10
    assert len(divided) <= MAX_COLUMNS
    assert divided[-1].start + divided[-1].width == pytest.approx(5.03)
    assert sum(column.requests for column in merged(divided, 7)) == 503


def recorded(*identities: Identity) -> Record:
    record = Record()
    for who in identities:
        record.add(0.0, 0.1, RequestKind("a", Outcome.OK, who))
    return record


def test_processes_have_names_and_versions_if_there_are_too_many_processes() -> None:
    few = groups_of(recorded(Identity("1", 41), Identity(None, 42), Identity("2", None)))
    many = groups_of(recorded(*(Identity("1" if pid < 50 else "2", pid) for pid in range(40, 60))))
    versions = groups_of(recorded(*(Identity(str(number), None) for number in range(40))))

    assert few.names == ("version 1, PID 41", "PID 42", "version 2")
    assert many.names == ("version 1", "version 2")
    assert len(versions.names) == MAX_GROUPS
    assert versions.names[-1] == "others"
    assert max(versions.of.values()) == MAX_GROUPS - 1


def test_a_connection_that_is_answered_by_many_in_turn_has_a_colour_of_its_own() -> None:
    found = result()
    for number in range(300):
        found.ledger.record.courses[0].answered(4.0, Identity(None, 41 + number % 2))

    assert 'class="course several"' in page(found)
    assert "answered by several in turn" in page(found)
    assert "several in turn" not in page(result())


def test_a_service_that_does_not_say_who_it_is_has_one_colour() -> None:
    assert groups_of(recorded(NOBODY)).names == ("served",)
    assert groups_of(Record()).names == ()


def told(found: Result) -> list[str]:
    return verdict(document("http://localhost", [SPEC], found))


def test_the_verdict_is_in_sentences() -> None:
    assert told(result()) == [
        "0 of 500 requests lost",
        "0 connections closed by the server, longest stall 2.0 ms",
        "reload: 0 of 31 lost, longest stall 0.0 ms, done after 300 ms",
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (1, "reload: failed after 300 ms with exit status 1; 0 of 31 lost, longest stall 0.0 ms: no"),
        (None, "reload: ended by force after 300 ms; 0 of 31 lost, longest stall 0.0 ms"),
    ],
)
def test_an_action_that_failed_is_said_so(status: int | None, expected: str) -> None:
    found = result(marks=(Mark("reload", 2.0, 2.3, status, "no"),))

    assert told(found)[2] == expected
    assert "Actions that failed" in page(found)
