"""The ways in which a request can end, and the error which carries them.

Every request gets exactly one outcome. What is neither `ok` nor `closed` is a loss: the probe repeats
nothing, so a loss here is an error message on somebody's screen.

| outcome | seen on the wire                                                             |
|---------|------------------------------------------------------------------------------|
| ok      | the complete and correct response                                            |
| closed  | a message on a websocket, overtaken by an orderly close frame 1012           |
| refused | the connection could not be opened: nobody listens there                     |
| reset   | ECONNRESET or EPIPE, wherever it strikes                                     |
| empty   | end of stream before the first byte of the response                          |
| timeout | no complete response within the limit                                        |
| wrong   | a response which is cut off, malformed, or not the one that was asked for    |
"""

import enum

MAX_SHOWN = 200
"""Characters of a text that are shown."""


class Outcome(enum.StrEnum):
    """How one request ended."""

    OK = "ok"
    CLOSED = "closed"
    REFUSED = "refused"
    RESET = "reset"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    WRONG = "wrong"

    @property
    def lost(self) -> bool:
        """Whether somebody waited for a response in vain."""
        return self not in (Outcome.OK, Outcome.CLOSED)


class UnservedError(Exception):
    """A request ended without its response; says how (`outcome`) and what was seen (`detail`)."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        self.outcome = outcome
        self.detail = shown(detail)
        super().__init__(f"{outcome}: {self.detail}")


def shown(text: str) -> str:
    """Return what can be shown of a text that whoever answers has chosen: one line, and not a long one."""
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
