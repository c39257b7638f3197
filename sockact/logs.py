"""Log records for people: in the journal as journal entries, elsewhere as lines on stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

# Not systemd.journal, of which we would use one function: it brings the journal's reader, uuid, platform
# and datetime, a megabyte in a supervisor.
from systemd import _journal

LOGGERS = ("sockact", "uvicorn")
"""Whose records we place; the app's own logging stays the app's business."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def configure(level: str, environ: Mapping[str, str]) -> None:
    """Send `LOGGERS` to the journal or to stderr, unless the program has set up logging itself."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    if logging.getLogger().handlers:
        return
    handler: logging.Handler = JournalHandler() if stderr_is_journal(environ) else _stderr_handler()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False


def stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """Tell whether stderr still is the stream that systemd connected to the journal.

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.Handler):
    """Writes each record as one journal entry, a traceback included.

    systemd-python's own handler loses records whose `extra` clashes with one of its fields.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; when that fails, say so on stderr."""
        try:
            _journal.sendv(
                f"MESSAGE={self.format(record)}",
                f"PRIORITY={priority(record.levelno)}",
                f"LOGGER={record.name}",
                "SYSLOG_IDENTIFIER=sockact",
            )
        except Exception:  # noqa: BLE001 - as in all of logging: a record that cannot be written harms nobody
            self.handleError(record)


def priority(level: int) -> int:
    """Return the syslog priority of a logging level. Source: sd-daemon(3)."""
    return next((value for least, value in _PRIORITIES if level >= least), 7)


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s pid=%(process)d %(name)s %(levelname)s: %(message)s")
    )
    return handler
