"""The destination of log records, and their priority."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from sockact.config import logs
from sockact.config.log_handlers import handler_for, priority
from sockact.config.logs import stderr_is_journal


def record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("sockact.test", level, __file__, 1, message, arguments, None)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_a_level_has_its_priority_in_syslog(level: str, expected: int) -> None:
    assert priority(logging.getLevelNamesMapping()[level]) == expected


@pytest.mark.parametrize(
    ("asked", "level"),
    [({"DEBUG_INVOCATION": "1"}, "DEBUG"), ({"DEBUG_INVOCATION": "0"}, "WARNING"), ({}, "WARNING")],
)
def test_systemd_may_ask_for_all_records_of_a_start(
    asked: dict[str, str], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("sockact")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    before = logger.level
    try:
        logs.configure("warning", asked)

        assert logging.getLevelName(logger.level) == level
    finally:
        logger.setLevel(before)


def test_a_record_that_cannot_be_written_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    handler_for("priority", to_journal=False).emit(record("%d requests", "many"))

    assert "--- Logging error --- %d requests" in capfd.readouterr().err


def test_stderr_is_the_journal_when_systemd_says_so_and_it_is_still_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status = os.fstat(2)
    monkeypatch.setattr(sys, "stderr", None)  # what Python has made of it does not matter

    assert stderr_is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not stderr_is_journal({"JOURNAL_STREAM": "1:1"})
    assert not stderr_is_journal({})


def test_a_record_begins_in_the_first_column_and_nothing_else_does(
    capfd: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ValueError("bad\n2026-01-01 forged\r\x1b[31m\u202e")
    except ValueError as error:
        found = record("no")
        found.exc_info = type(error), error, error.__traceback__
    handler_for("plain", to_journal=False).emit(found)

    first, *rest = capfd.readouterr().err.splitlines()
    assert first.endswith("sockact.test ERROR: no")
    assert all(line.startswith("  ") for line in rest)
    assert rest[-1] == r"  2026-01-01 forged\r\x1b[31m\u202e"
