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
from collections.abc import Mapping
from typing import Any

from sockact.config.log_handlers import RecordHandler, handler_for
from sockact.system import standard_streams
from sockact.untrusted.text import told, visible

LOGGERS = ("sockact",)
"""The loggers that are configured here; the app configures its own."""


def configure(level: str, environ: Mapping[str, str], form: str = "auto") -> None:
    """Send `LOGGERS` to the journal or to stderr, unless the program has set up logging itself.

    Args:
        level: the least level that is logged; DEBUG takes its place where systemd asks for that.
        environ: the environment.
        form: the setting `log_format`.

    Source: RestartMode=debug in systemd.service(5), $DEBUG_INVOCATION in systemd.exec(5).
    """
    global _default_handler  # noqa: PLW0603 - there is one log
    _default_handler.close()
    _default_handler = handler_for(form, to_journal=stderr_is_journal(environ))
    least = "DEBUG" if environ.get("DEBUG_INVOCATION") == "1" else level.upper()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(least)
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


class LogHandler(logging.Handler):
    """A handler for an app's loggers: their records go where those of sockact go, in the same form.

    In the journal they have their priority, and the id of the request; a traceback is part of its record.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        _default_handler.handle(record)


class _LastResort(logging.Handler):
    """Wraps Python's last-resort handler, since the app may set `sys.stderr` to anything."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record by Python's handler; by ours if that fails, or would lose its facts."""
        with contextlib.suppress(Exception):  # it is the app's stream
            as_it_was = sys.stderr is sys.__stderr__
            if sys.stderr is not None and not (as_it_was and _default_handler.structured):
                return bool(self._handler.handle(record))
        return bool(_default_handler.handle(record))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in LOGGERS


def _make(logger: logging.Logger, kind: type[logging.Logger]) -> None:
    """Change the class of an existing logger to `kind`, combined with its own class."""
    if not isinstance(logger, kind):
        own = type(logger)
        logger.__class__ = kind if own is logging.Logger else type(kind.__name__, (kind, own), {})


def _shown(argument: object) -> object:
    if isinstance(argument, BaseException):
        try:
            return visible(str(argument))
        except Exception:  # noqa: BLE001 - it is the app's
            return told(argument)
    return visible(argument) if isinstance(argument, str) else argument


_default_handler: RecordHandler = handler_for("auto", to_journal=False)
"""The handler of our records if no other handler is set."""
