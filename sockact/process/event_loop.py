"""The choice of the event loop that serves: uvloop's, or asyncio's own where that is needed.

nest_asyncio needs it: it patches asyncio's class, so that code can run a loop that already runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable

from sockact.sockets.fds import Listener
from sockact.untrusted import ancillary

UVLOOP = "uvloop"

ADVICE = "nest_asyncio needs asyncio's own event loop: set loop=asyncio (--loop asyncio)"

_UNPATCHED = "Can't patch loop of type"
"""The beginning of nest_asyncio's ValueError."""

logger = logging.getLogger(__package__)


def suited(choice: str, listeners: Iterable[Listener]) -> str:
    """Return the `choice` of the setting `loop`, or asyncio's where other users could halt uvloop's."""
    exposed = [each for each in listeners if each.sock is not None and ancillary.is_exposed(each.sock)]
    if choice != UVLOOP or not exposed:
        return choice
    logger.info(
        "loop=asyncio: every user of this machine may send descriptors to %s, and Linux %s cannot refuse"
        " them (6.16 can); SocketMode=0660 in the socket unit, with a SocketGroup=, keeps uvloop",
        exposed[0].address,
        os.uname().release,
    )
    return "asyncio"


def kind(choice: str) -> type[asyncio.AbstractEventLoop]:
    """Return the class of the loop that a choice names, whatever policy the app has set."""
    if choice != UVLOOP:
        return asyncio.SelectorEventLoop
    import uvloop  # only in a process that serves

    return uvloop.Loop


def is_nested_in_vain(choice: str) -> bool:
    """Return whether nest_asyncio has patched asyncio, without effect on this loop."""
    return choice == UVLOOP and hasattr(asyncio, "_nest_patched")


def advised(text: str) -> str:
    """Return the text of an error, with the advice if the loop has caused it."""
    return f"{text}; {ADVICE}" if _UNPATCHED in text else text


class Advised(logging.Filter):
    """Adds the advice to the record of an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ValueError) and _UNPATCHED in str(error):
            record.msg, record.args = f"{record.getMessage().rstrip()}; {ADVICE}", ()
        return True
