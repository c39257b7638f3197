"""The destination of log records, and their priority."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from systemd import _journal

from sockact.config import logs
from sockact.config.logs import JournalHandler, StderrHandler, priority, stderr_is_journal


def record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("sockact.test", level, __file__, 1, message, arguments, None)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_a_level_has_its_priority_in_syslog(level: str, expected: int) -> None:
    assert priority(logging.getLevelNamesMapping()[level]) == expected


def test_a_record_is_one_entry_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(_journal, "sendv", lambda *fields: sent.append(fields))
    monkeypatch.setattr(logs, "JOURNAL", os.devnull)  # anything that can be written to

    JournalHandler().emit(record("a\n%s", "é"))

    assert sent == [("MESSAGE=a\né", "PRIORITY=3", "LOGGER=sockact.test", "SYSLOG_IDENTIFIER=sockact")]


def test_a_record_that_cannot_be_written_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    JournalHandler().emit(record("%d requests", "many"))

    assert "--- Logging error --- %d requests" in capfd.readouterr().err


def test_stderr_is_the_journal_when_systemd_says_so_and_it_is_still_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status = os.fstat(2)
    monkeypatch.setattr(sys, "stderr", None)  # what Python has made of it does not matter

    assert stderr_is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not stderr_is_journal({"JOURNAL_STREAM": "1:1"})
    assert not stderr_is_journal({})


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, list[str]]:
    """Give where the journal's socket is looked for, where none is yet, and what goes to the journal."""
    sent: list[str] = []
    monkeypatch.setattr(_journal, "sendv", lambda message, *_: sent.append(message))
    monkeypatch.setattr(logs, "JOURNAL", str(tmp_path / "socket"))
    return tmp_path / "socket", sent


def test_without_the_journals_socket_each_line_goes_to_stderr_with_its_priority(
    journal: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    JournalHandler().emit(record("a\nb", level=logging.WARNING))

    assert capfd.readouterr().err == "<4>a\n<4>  b\n"


def test_a_journal_that_goes_away_and_comes_back_gets_what_it_can(
    journal: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    path, sent = journal
    handler = JournalHandler()

    path.touch()
    handler.emit(record("first"))
    path.unlink()
    handler.emit(record("second"))
    path.touch()
    handler.emit(record("third"))

    assert sent == ["MESSAGE=first", "MESSAGE=third"]
    assert capfd.readouterr().err == "<3>second\n"


def test_what_the_journal_does_not_take_goes_to_stderr(
    journal: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise OSError

    journal[0].touch()
    monkeypatch.setattr(_journal, "sendv", refuse)
    JournalHandler().emit(record("refused"))

    assert capfd.readouterr().err == "<3>refused\n"


def test_a_record_begins_in_the_first_column_and_nothing_else_does(
    capfd: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ValueError("bad\n2026-01-01 forged\r\x1b[31m\u202e")
    except ValueError as error:
        found = record("no")
        found.exc_info = type(error), error, error.__traceback__
    StderrHandler().emit(found)

    first, *rest = capfd.readouterr().err.splitlines()
    assert first.endswith("sockact.test ERROR: no")
    assert all(line.startswith("  ") for line in rest)
    assert rest[-1] == r"  2026-01-01 forged\r\x1b[31m\u202e"
