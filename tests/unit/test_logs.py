"""Where log records go, and how urgent they are."""

from __future__ import annotations

import logging
import os
import sys

import pytest
from systemd import _journal

from sockact.logs import JournalHandler, priority, stderr_is_journal


def record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("sockact.test", level, __file__, 1, message, arguments, None)


@pytest.mark.F105
@pytest.mark.parametrize(
    ("level", "expected"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_a_level_has_its_priority_in_syslog(level: str, expected: int) -> None:
    assert priority(logging.getLevelNamesMapping()[level]) == expected


@pytest.mark.F105
def test_a_record_is_one_entry_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(_journal, "sendv", lambda *fields: sent.append(fields))

    JournalHandler().emit(record("a\n%s", "é"))

    assert sent == [("MESSAGE=a\né", "PRIORITY=3", "LOGGER=sockact.test", "SYSLOG_IDENTIFIER=sockact")]


def test_a_record_that_cannot_be_written_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    JournalHandler().emit(record("%d requests", "many"))

    assert "--- Logging error ---" in capsys.readouterr().err


def test_stderr_is_the_journal_when_systemd_says_so_and_it_is_still_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open(os.devnull, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        status = os.fstat(stderr.fileno())

        assert stderr_is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not stderr_is_journal({"JOURNAL_STREAM": "1:1"})
        assert not stderr_is_journal({})


def test_without_stderr_there_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    assert not stderr_is_journal({"JOURNAL_STREAM": "1:1"})
