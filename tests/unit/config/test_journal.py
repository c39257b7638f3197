"""Records on their way to the journal: whole, at once, and without it."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.config import journal
from sockact.config.log_handlers import JournalHandler, RecordHandler, handler_for
from sockact.config.records import REQUEST_ID, RecordKind, about, in_request
from sockact.system import standard_streams

HOSTILE = "a\nPRIORITY=0\nb\x1b[2J\u202e\udc80=\r<0>\0c"


def record(
    message: str, *arguments: object, level: int = logging.ERROR, **facts: object
) -> logging.LogRecord:
    made = logging.LogRecord("sockact.test", level, __file__, 1, message, arguments, None)
    vars(made).update(about(**facts))
    return made


class Journal:
    """A journal that reads when it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(self._path))

    def end(self) -> None:
        self._sock.close()
        self._path.unlink(missing_ok=True)

    def entries(self) -> list[dict[str, str]]:
        """Return the entries that have come."""
        found = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, 1 << 20, 1)
            except BlockingIOError:
                return found
            if descriptors:
                with open(descriptors[0], "rb") as file:
                    file.seek(0)
                    data = file.read()
            found.append(unpacked(data))


def unpacked(data: bytes) -> dict[str, str]:
    """Return the fields of an entry, as the journal reads them."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[9 + size :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Journal]:
    """Give a journal in the place where it is looked for."""
    monkeypatch.setattr(journal, "JOURNAL", str(tmp_path / "socket"))
    found = Journal(tmp_path / "socket")
    found.listen()
    yield found
    found.end()


HANDLERS: list[RecordHandler] = []


def opened(form: str = "auto") -> JournalHandler:
    """Return a handler that writes to the journal, closed at the end of the test."""
    handler = handler_for(form, to_journal=True)
    assert isinstance(handler, JournalHandler)
    HANDLERS.append(handler)
    return handler


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while HANDLERS:
        HANDLERS.pop().close()


def test_a_record_is_one_entry_of_the_journal(listening: Journal) -> None:
    opened().emit(record("a\n%s", "é"))

    assert listening.entries() == [
        {"MESSAGE": "a\né", "PRIORITY": "3", "LOGGER": "sockact.test", "SYSLOG_IDENTIFIER": "sockact"}
    ]


def test_a_traceback_is_part_of_its_entry(listening: Journal) -> None:
    found = record("failed")
    try:
        raise ValueError("bad")
    except ValueError as error:
        found.exc_info = type(error), error, error.__traceback__
    opened().emit(found)

    (entry,) = listening.entries()
    first, second, *_, last = entry["MESSAGE"].splitlines()
    assert (first, second, last) == ("failed", "Traceback (most recent call last):", "ValueError: bad")


def test_the_facts_of_a_record_are_fields_of_its_entry(listening: Journal) -> None:
    with in_request("abc"):
        made = record("asked", kind=RecordKind.REQUEST, status=200, aborted=False, user_agent=None)
        opened().emit(made)

    (entry,) = listening.entries()
    assert entry["MESSAGE_ID"] == RecordKind.REQUEST
    assert (entry["REQUEST_ID"], entry["STATUS"], entry["ABORTED"]) == ("abc", "200", "0")
    assert "USER_AGENT" not in entry
    assert REQUEST_ID.get() == ""


def test_nothing_in_a_text_begins_another_field_or_line(listening: Journal) -> None:
    opened().emit(record("%s", HOSTILE, user_agent=HOSTILE))

    (entry,) = listening.entries()
    assert entry["PRIORITY"] == "3"
    assert set(entry) == {"MESSAGE", "PRIORITY", "LOGGER", "SYSLOG_IDENTIFIER", "USER_AGENT"}


def test_a_record_that_is_too_long_for_a_datagram_arrives_whole(listening: Journal) -> None:
    text = "x" * 3_000_000
    opened().emit(record(text))

    assert [entry["MESSAGE"] for entry in listening.entries()] == [text]


def test_a_journal_that_goes_away_and_comes_back_gets_what_it_can(
    listening: Journal, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = opened()

    handler.emit(record("first"))
    assert [entry["MESSAGE"] for entry in listening.entries()] == ["first"]
    listening.end()
    handler.emit(record("second\nline", level=logging.WARNING))
    listening.listen()
    handler.emit(record("third"))

    assert [entry["MESSAGE"] for entry in listening.entries()] == ["third"]
    assert capfd.readouterr().err == "<4>second\n<4>  line\n"


def test_what_a_full_journal_does_not_take_goes_to_the_stream(
    listening: Journal, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = opened()
    for number in range(2000):
        handler.emit(record(f"{number}"))

    taken = [entry["MESSAGE"] for entry in listening.entries()]
    others = capfd.readouterr().err.replace("<3>", "").split()
    assert taken + others == [f"{number}" for number in range(2000)]
    assert others  # it was full


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the reader's end of a pipe that is the standard error, of the least size."""
    reader, writer = os.pipe()
    monkeypatch.setattr(standard_streams, "_kept", writer)
    monkeypatch.setattr(standard_streams, "_stuck", False)
    monkeypatch.setattr(standard_streams, "WRITE_TIMEOUT", 0.01)
    yield reader
    os.close(reader)
    os.close(writer)


def read(reader: int) -> str:
    os.set_blocking(reader, False)
    parts = []
    try:
        while part := os.read(reader, 1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts).decode()


@pytest.mark.parametrize("form", ["plain", "priority", "json"])
def test_a_reader_that_hangs_holds_up_nobody_and_learns_how_much_is_lost(stderr: int, form: str) -> None:
    handler = handler_for(form, to_journal=False)
    for _ in range(1000):
        handler.emit(record("x" * 1000))
    before = read(stderr)
    handler.emit(record("again"))

    after = read(stderr)
    lost = 1000 - before.count("x" * 1000)
    assert lost
    assert "again" in after
    assert f"{lost} log records are lost" in after


def test_an_app_that_closes_our_socket_and_takes_its_number_gets_no_record(listening: Journal) -> None:
    handler = opened()
    handler.emit(record("first"))
    sock = handler._journal._sock
    assert sock is not None
    theirs, others = socket.socketpair()
    os.dup2(theirs.fileno(), sock.fileno())
    handler.emit(record("second"))

    assert [entry["MESSAGE"] for entry in listening.entries()] == ["first", "second"]
    others.setblocking(False)
    with pytest.raises(BlockingIOError):
        others.recv(1)
    theirs.close()
    others.close()


def test_json_is_one_line_with_all_facts(capfd: pytest.CaptureFixture[str]) -> None:
    made = record("%s", HOSTILE, kind=RecordKind.REQUEST, status=200, user_agent=HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        made.exc_info = type(error), error, error.__traceback__
    with in_request("abc"):
        handler_for("json", to_journal=False).emit(made)

    (line,) = capfd.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.isascii()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["status"]) == ("error", "sockact.test", 200)
    assert (found["request_id"], found["message_id"]) == ("abc", RecordKind.REQUEST)
    assert found["message"] == found["user_agent"] == HOSTILE
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["time"].endswith("Z")


def test_json_in_the_journal_has_its_fields_too(listening: Journal) -> None:
    opened("json").emit(record("asked", status=200))

    (entry,) = listening.entries()
    assert (entry["STATUS"], entry["PRIORITY"]) == ("200", "3")
    assert json.loads(entry["MESSAGE"])["message"] == "asked"


@pytest.mark.parametrize(
    ("form", "to_journal", "begin"),
    [
        ("priority", False, "<3>hello"),
        ("priority", True, "<3>hello"),
        ("plain", True, "20"),
        ("auto", False, "20"),
    ],
)
def test_the_form_of_lines_is_the_one_that_was_asked_for(
    form: str, to_journal: bool, begin: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handler: RecordHandler = handler_for(form, to_journal=to_journal)
    handler.emit(record("hello\nline"))

    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(begin)
    assert first.endswith("hello")
    assert second.removeprefix("<3>") == "  line"
