"""The handlers of log records: fields in the journal, lines on stderr, lines with a priority, or JSON."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Mapping

from sockact.config.journal import JournalSocket
from sockact.config.records import facts_of
from sockact.system import standard_streams
from sockact.untrusted.text import visible, visible_lines

IDENTIFIER = "sockact"
"""The SYSLOG_IDENTIFIER of our records, unless they say another one."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

_LOST = "%d log records are lost: nobody has taken them"


class RecordHandler(logging.Handler):
    """Writes records, and reports errors in that on stderr.

    A record that cannot be written at once is lost, and counted: requests do not wait for a log.

    Attributes:
        structured: whether the facts of a record are written, beside its text.
    """

    structured = False
    _lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, and tell of those that were lost before it."""
        try:
            if not self.say(record, visible_lines(self.format(record).rstrip("\n"))):
                self._lost += 1
            elif self._lost:
                self._tell_of_lost()
        except Exception:  # noqa: BLE001 - as everywhere in logging: a lost record has no consequences
            self.handleError(record)

    def _tell_of_lost(self) -> None:
        record = logging.LogRecord(__package__, logging.WARNING, "", 0, _LOST, (self._lost,), None)
        if self.say(record, [self.format(record)]):
            self._lost = 0

    def say(self, record: logging.LogRecord, lines: list[str]) -> bool:
        """Write a record with these lines, all but the first continue it; return whether it is written."""
        raise NotImplementedError

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Report the error that a record has caused."""
        lines = visible_lines(traceback.format_exc().rstrip("\n"))
        standard_streams.write(
            "\n".join([f"--- Logging error --- {visible(str(record.msg))}", *_indented(lines), ""])
        )


class TerminalFormatter(logging.Formatter):
    """Formats records for a person: the time of day, the level if it matters, the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, without its level if that is `INFO`."""
        text = super().format(record)
        if record.levelno == logging.INFO:
            return text
        head, bracket, message = text.partition("] ")
        return f"{head}{bracket}{record.levelname}: {message}"


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON, in ASCII: whatever is in its texts, it is one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        import json  # in those processes only that write it

        known: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}"
            f".{int(record.created % 1 * 1e6):06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info:
            known["exception"] = self.formatException(record.exc_info)
        return json.dumps(known, default=str)


class StderrHandler(RecordHandler):
    """Writes each record as lines on stderr; all but its first line are indented."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.structured = isinstance(formatter, JsonFormatter)
        self._coloured = isinstance(formatter, TerminalFormatter)
        self.setFormatter(formatter)

    def say(self, record: logging.LogRecord, lines: list[str]) -> bool:
        """Write the record in one call; a warning or an error in colour on a terminal."""
        text = "\n".join([lines[0], *_indented(lines[1:])])
        colour = _colour(record.levelno) if self._coloured else ""
        return standard_streams.write(f"\x1b[{colour}m{text}\x1b[0m\n" if colour else f"{text}\n")


class PriorityHandler(RecordHandler):
    """Writes each record as lines on stderr with its priority, for a reader as sd-daemon(3) describes it.

    Such a reader makes each line an entry, with a priority of its own.
    """

    def say(self, record: logging.LogRecord, lines: list[str]) -> bool:
        """Write the record in one call."""
        level = f"<{priority(record.levelno)}>"
        return standard_streams.write(
            "".join(f"{level}{line}\n" for line in [lines[0], *_indented(lines[1:])])
        )


class JournalHandler(PriorityHandler):
    """Writes each record as one journal entry, a traceback included, with its facts as fields.

    systemd-python's own handler loses records whose `extra` clashes with one of its fields, and waits for a
    journal that takes nothing.
    """

    structured = True

    def __init__(self) -> None:
        super().__init__()
        self._journal = JournalSocket()

    def close(self) -> None:
        """Close the socket; another record opens it again."""
        self._journal.close()
        super().close()

    def say(self, record: logging.LogRecord, lines: list[str]) -> bool:
        """Send the record to the journal's socket, or else to the stream that systemd has opened.

        The socket is missing where the service has another root directory (`RootDirectory=`), and takes
        nothing if the journal hangs; the stream then still has some room.
        """
        try:
            self._journal.send(_fields(record, lines))
        except OSError:
            return super().say(record, lines)
        return True


def handler_for(form: str, *, to_journal: bool) -> RecordHandler:
    """Return the handler for a value of the setting `log_format`.

    Args:
        form: one of `log_formats.FORMATS`.
        to_journal: whether stderr goes to the journal.
    """
    if form == "priority":
        return PriorityHandler()
    if to_journal and form != "plain":
        handler = JournalHandler()
        if form == "json":
            handler.setFormatter(JsonFormatter())
        return handler
    if form == "json":
        return StderrHandler(JsonFormatter())
    if form == "auto" and standard_streams.is_terminal():
        return StderrHandler(TerminalFormatter())
    text = "%(asctime)s pid=%(process)d %(name)s %(levelname)s: %(message)s"
    return StderrHandler(logging.Formatter(text))


def priority(level: int) -> int:
    """Return the syslog priority of a logging level. Source: sd-daemon(3)."""
    return next((value for least, value in _PRIORITIES if level >= least), 7)


def _fields(record: logging.LogRecord, lines: list[str]) -> Mapping[str, str]:
    """Return the fields of an entry. Source: systemd.journal-fields(7)."""
    fields = {
        "MESSAGE": "\n".join(lines),
        "PRIORITY": str(priority(record.levelno)),
        "LOGGER": record.name,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    for name, value in facts_of(record).items():
        fields[name.upper()] = f"{value:d}" if isinstance(value, bool) else str(value)
    return fields


def _colour(level: int) -> str:
    """Return the colour of a level on a terminal: none elsewhere, or if the user wants none.

    Source: https://no-color.org, which libraries and programs of many kinds follow.
    """
    plain = level < logging.WARNING or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not standard_streams.is_terminal():
        return ""
    return "33" if level < logging.ERROR else "31"


def _indented(lines: list[str]) -> list[str]:
    """Indent lines, so that they are not taken for the beginning of a record."""
    return [f"  {line}" for line in lines]
