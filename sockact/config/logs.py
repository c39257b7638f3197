"""Writes log records to the journal, or as lines to stderr if stderr is not the journal.

Our records are written whatever the app does to logging: `dictConfig` disables every logger that it does
not name, and some libraries clear all handlers. But a handler or level that is set on one of `LOGGERS` by
its name counts, and so does logging that a program has set up before it calls `serve`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

# Not systemd.journal, of which we would use one function: it imports the journal's reader, uuid, platform
# and datetime, which take a megabyte in a supervisor.
from systemd import _journal

from sockact.system import standard_streams
from sockact.untrusted.text import told, visible, visible_lines

LOGGERS = ("sockact",)
"""The loggers that are configured here; the app configures its own."""

JOURNAL = "/run/systemd/journal/socket"
"""The journal's socket; libsystemd reports no error if it is missing (sd_journal_print(3))."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def configure(level: str, environ: Mapping[str, str]) -> None:
    """Send `LOGGERS` to the journal or to stderr, unless the program has set up logging itself."""
    global _default_handler  # noqa: PLW0603 - there is one log
    _default_handler = JournalHandler() if stderr_is_journal(environ) else StderrHandler()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    hold()
    if logging.getLogger().handlers:
        return
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_default_handler]
        logger.propagate = False


def hold() -> None:
    """Protect the loggers that exist by now from being switched off."""
    found = logging.root.manager.loggerDict
    ours = [name for name, each in found.items() if isinstance(each, logging.Logger) and _is_ours(name)]
    for name in ours:
        _make(logging.getLogger(name), SteadyLogger)
    # The app uses asyncio's logger too; but an error in its handlers would end the loop.
    _make(logging.getLogger("asyncio"), SafeLogger)
    last = logging.lastResort
    if last is not None and not isinstance(last, _LastResort):
        logging.lastResort = _LastResort(last)


def stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """Tell whether stderr is still the stream that systemd connected to the journal.

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    try:
        status = os.fstat(standard_streams.descriptor())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class SafeLogger(logging.Logger):
    """A logger that catches errors in the app's filters, handlers and record factories."""

    def makeRecord(self, name: str, level: int, fn: str, lno: int, msg: object, *more: Any) -> Any:  # noqa: N802
        """Return the record, made by the app's factory if that works."""
        try:
            return super().makeRecord(name, level, fn, lno, msg, *more)
        except Exception:  # noqa: BLE001 - it is the app's
            args, exc_info, func, _, sinfo = (*more, *(None,) * 5)[:5]
            return logging.LogRecord(name, level, fn, lno, msg, args, exc_info, func, sinfo)

    def handle(self, record: logging.LogRecord) -> None:
        """Write the record; by our own handler if the app's fails."""
        try:
            super().handle(record)
        except Exception:  # noqa: BLE001 - as everywhere in logging: an error in it has no consequences
            _default_handler.handle(record)


class SteadyLogger(SafeLogger):
    """A logger of ours that cannot be disabled and always has a handler; its level can be set.

    Texts and errors among a message's arguments may come from outside. Control characters in them are
    escaped here, so that the app's handlers get them escaped too.
    """

    @property
    def disabled(self) -> bool:
        """Return False."""
        return False

    @disabled.setter
    def disabled(self, _: object) -> None:
        """Ignore the value: `logging.config` disables all loggers that it was not given by name."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Tell whether records of a level are written; `logging.disable` is ignored."""
        return level >= self.getEffectiveLevel()

    def hasHandlers(self) -> bool:  # noqa: N802
        """Return True: our own handler is the last one."""
        return True

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Write the record by the handlers that are set, or else by ours."""
        if super().hasHandlers():
            super().callHandlers(record)
        else:
            _default_handler.handle(record)

    def makeRecord(self, *arguments: Any) -> Any:  # noqa: N802
        """Return the record of a message."""
        name, level, fn, lno, msg, args, *more = arguments
        if isinstance(args, tuple):
            args = tuple(map(_shown, args))
        return super().makeRecord(name, level, fn, lno, msg, args, *more)


class RecordHandler(logging.Handler):
    """Writes records, and reports errors in that on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            self.say(record, visible_lines(self.format(record).rstrip("\n")))
        except Exception:  # noqa: BLE001 - as everywhere in logging: a lost record has no consequences
            self.handleError(record)

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:
        """Write a record with these lines; all but the first are continuation lines."""
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


class StderrHandler(RecordHandler):
    """Writes each record as lines on stderr; all but its first line are indented."""

    def __init__(self) -> None:
        super().__init__()
        if standard_streams.is_terminal():
            self.setFormatter(TerminalFormatter())
        else:
            form = "%(asctime)s pid=%(process)d %(name)s %(levelname)s: %(message)s"
            self.setFormatter(logging.Formatter(form))

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:
        """Write the record in one call; a warning or an error in colour on a terminal."""
        text = "\n".join([lines[0], *_indented(lines[1:])])
        colour = _colour(record.levelno)
        standard_streams.write(f"\x1b[{colour}m{text}\x1b[0m\n" if colour else f"{text}\n")


class JournalHandler(RecordHandler):
    """Writes each record as one journal entry, a traceback included.

    systemd-python's own handler loses records whose `extra` clashes with one of its fields.
    """

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:
        """Send the record to the journal's socket, or else to the stream that systemd has opened.

        The socket is missing where the service has another root directory (`RootDirectory=`).
        """
        if os.access(JOURNAL, os.W_OK):
            with contextlib.suppress(OSError):
                _journal.sendv(
                    "MESSAGE=" + "\n".join(lines),
                    f"PRIORITY={priority(record.levelno)}",
                    f"LOGGER={record.name}",
                    "SYSLOG_IDENTIFIER=sockact",
                )
                return
        # Each line of the stream is an entry, with a priority of its own. Source: sd-daemon(3).
        level = f"<{priority(record.levelno)}>"
        standard_streams.write("".join(f"{level}{line}\n" for line in [lines[0], *_indented(lines[1:])]))


def _colour(level: int) -> str:
    """Return the colour of a level on a terminal: none elsewhere, or if the user wants none.

    Source: https://no-color.org, which libraries and programs of many kinds follow.
    """
    plain = level < logging.WARNING or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not standard_streams.is_terminal():
        return ""
    return "33" if level < logging.ERROR else "31"


def priority(level: int) -> int:
    """Return the syslog priority of a logging level. Source: sd-daemon(3)."""
    return next((value for least, value in _PRIORITIES if level >= least), 7)


class _LastResort(logging.Handler):
    """Wraps Python's last-resort handler, since the app may set `sys.stderr` to anything."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record by Python's handler, or by ours if that fails."""
        with contextlib.suppress(Exception):  # it is the app's stream
            if sys.stderr is not None:
                return bool(self._handler.handle(record))
        return bool(_default_handler.handle(record))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in LOGGERS


def _make(logger: logging.Logger, kind: type[logging.Logger]) -> None:
    """Change the class of an existing logger to `kind`, combined with its own class."""
    if not isinstance(logger, kind):
        own = type(logger)
        logger.__class__ = kind if own is logging.Logger else type(kind.__name__, (kind, own), {})


def _indented(lines: list[str]) -> list[str]:
    """Indent lines, so that they are not taken for the beginning of a record."""
    return [f"  {line}" for line in lines]


def _shown(argument: object) -> object:
    if isinstance(argument, BaseException):
        try:
            return visible(str(argument))
        except Exception:  # noqa: BLE001 - it is the app's
            return told(argument)
    return visible(argument) if isinstance(argument, str) else argument


_default_handler: logging.Handler = StderrHandler()
"""The handler of our records if no other handler is set."""
