"""The event loop that serves: uvloop's, or asyncio's own for what needs that one.

nest_asyncio needs it: code may then run a loop that runs already. It patches the class of asyncio's.
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
"""How nest_asyncio's ValueError begins."""


logger = logging.getLogger(__package__)


def suited(choice: str, listeners: Iterable[Listener]) -> str:
    """Return what the setting `loop` names, or asyncio's where a neighbour could halt uvloop's."""
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
    """Return the kind of loop that the setting `loop` names, whatever policy the app has set."""
    if choice != UVLOOP:
        return asyncio.SelectorEventLoop
    import uvloop  # only where it serves

    return uvloop.Loop


def is_nested_in_vain(choice: str) -> bool:
    """Tell whether nest_asyncio has patched asyncio, and this loop goes on without."""
    return choice == UVLOOP and hasattr(asyncio, "_nest_patched")


def advised(text: str) -> str:
    """Return the text of an error, with what can be done where it is one that the loop has caused."""
    return f"{text}; {ADVICE}" if _UNPATCHED in text else text


class Advised(logging.Filter):
    """Adds that to the record of an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ValueError) and _UNPATCHED in str(error):
            record.msg, record.args = f"{record.getMessage().rstrip()}; {ADVICE}", ()
        return True
