"""Log records for people: in the journal as journal entries, elsewhere as lines on stderr.

Our records are written whatever the app does to logging: `dictConfig` disables every logger that it does
not name, others clear the handlers of all. Whoever gives one of `LOGGERS` a handler or a level by its name
means it, and so does a program that sets up logging before it calls `serve`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

# Not systemd.journal, of which we would use one function: it brings the journal's reader, uuid, platform
# and datetime, a megabyte in a supervisor.
from systemd import _journal

from sockact.system import standard_streams
from sockact.untrusted.text import told, visible, visible_lines

LOGGERS = ("sockact", "uvicorn")
"""Whose records we place; the app's own logging stays the app's business."""

ACCESS = "uvicorn.access"
"""Which of them logs requests, and is off by having no handler."""

JOURNAL = "/run/systemd/journal/socket"
"""Where the journal is reached; libsystemd says nothing when it is not there (sd_journal_print(3))."""

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


def hold(*, access: bool = False) -> None:
    """Let nobody switch off the loggers of what is loaded by now.

    Args:
        access: also that of requests.
    """
    found = logging.root.manager.loggerDict
    ours = [name for name, each in found.items() if isinstance(each, logging.Logger) and _is_ours(name)]
    for name in (*ours, "uvicorn.error", *([ACCESS] if access else [])):
        if name != ACCESS or access:
            _make(logging.getLogger(name), SteadyLogger)
    # asyncio's is the app's as well; but an error in it would end the loop.
    _make(logging.getLogger("asyncio"), SafeLogger)
    last = logging.lastResort
    if last is not None and not isinstance(last, _LastResort):
        logging.lastResort = _LastResort(last)


def stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """Tell whether stderr still is the stream that systemd connected to the journal.

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    try:
        status = os.fstat(standard_streams.descriptor())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class SafeLogger(logging.Logger):
    """A logger that never raises what a filter, a handler or a factory of records of the app's does."""

    def makeRecord(self, name: str, level: int, fn: str, lno: int, msg: object, *more: Any) -> Any:  # noqa: N802
        """Return the record, of the app's making if that is possible."""
        try:
            return super().makeRecord(name, level, fn, lno, msg, *more)
        except Exception:  # noqa: BLE001 - it is the app's
            args, exc_info, func, _, sinfo = (*more, *(None,) * 5)[:5]
            return logging.LogRecord(name, level, fn, lno, msg, args, exc_info, func, sinfo)

    def handle(self, record: logging.LogRecord) -> None:
        """Write the record, somewhere."""
        try:
            super().handle(record)
        except Exception:  # noqa: BLE001 - as in all of logging: it harms nobody
            _default_handler.handle(record)


class SteadyLogger(SafeLogger):
    """A logger of ours: always on, and never without a handler; its level is as it is set.

    What others have a part in, all arguments of a message that are texts or errors, is made visible here:
    handlers of the app's get it so, too.
    """

    @property
    def disabled(self) -> bool:
        """Whether it is off: never."""
        return False

    @disabled.setter
    def disabled(self, _: object) -> None:
        """Ignore it: `logging.config` switches off all loggers that were not named to it."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Tell whether records of a level are written; not asking `logging.disable`."""
        return level >= self.getEffectiveLevel()

    def hasHandlers(self) -> bool:  # noqa: N802
        """Tell whether it has handlers: in the end, ours."""
        return True

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Write the record by the handlers that there are, or else by ours."""
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
    """Writes a record, and when that fails, says so on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        try:
            self.say(record, visible_lines(self.format(record).rstrip("\n")))
        except Exception:  # noqa: BLE001 - as in all of logging: a record that cannot be written harms nobody
            self.handleError(record)

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:
        """Write a record that has these lines; the second and those after it belong to the first."""
        raise NotImplementedError

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say what is wrong with a record."""
        lines = visible_lines(traceback.format_exc().rstrip("\n"))
        standard_streams.write(
            "\n".join([f"--- Logging error --- {visible(str(record.msg))}", *_indented(lines), ""])
        )


class StderrHandler(RecordHandler):
    """Writes each record as lines on stderr, of which only the first begins in the first column."""

    def __init__(self) -> None:
        super().__init__()
        form = "%(asctime)s pid=%(process)d %(name)s %(levelname)s: %(message)s"
        self.setFormatter(logging.Formatter(form))

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:  # noqa: ARG002
        """Write it at once."""
        standard_streams.write("\n".join([lines[0], *_indented(lines[1:]), ""]))


class JournalHandler(RecordHandler):
    """Writes each record as one journal entry, a traceback included.

    systemd-python's own handler loses records whose `extra` clashes with one of its fields.
    """

    def say(self, record: logging.LogRecord, lines: list[str]) -> None:
        """Send the record; where the journal is out of reach, use the stream that systemd has opened.

        That is so where the root of the service is another (`RootDirectory=`), and its `/run`.
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


def priority(level: int) -> int:
    """Return the syslog priority of a logging level. Source: sd-daemon(3)."""
    return next((value for least, value in _PRIORITIES if level >= least), 7)


class _LastResort(logging.Handler):
    """Python's handler of records that have no other, for a `sys.stderr` that may be anything."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler

    def handle(self, record: logging.LogRecord) -> bool:
        """Write it as Python does, if that is possible."""
        with contextlib.suppress(Exception):  # it is the app's stream
            if sys.stderr is not None:
                return bool(self._handler.handle(record))
        return bool(_default_handler.handle(record))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in LOGGERS


def _make(logger: logging.Logger, kind: type[logging.Logger]) -> None:
    """Give a logger that was made long ago what `kind` has, beside what its class has."""
    if not isinstance(logger, kind):
        own = type(logger)
        logger.__class__ = kind if own is logging.Logger else type(kind.__name__, (kind, own), {})


def _indented(lines: list[str]) -> list[str]:
    """Return lines that nobody takes for the beginning of a record."""
    return [f"  {line}" for line in lines]


def _shown(argument: object) -> object:
    if isinstance(argument, BaseException):
        try:
            return visible(str(argument))
        except Exception:  # noqa: BLE001 - it is the app's
            return told(argument)
    return visible(argument) if isinstance(argument, str) else argument


_default_handler: logging.Handler = StderrHandler()
"""What writes our records where nothing else does."""
