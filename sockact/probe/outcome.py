"""The outcomes of requests, and the error that carries them.

Every request gets exactly one outcome. All but `ok` and `closed` are losses: the probe repeats no request,
so a loss here would be an error message for a user.

| outcome | seen on the wire                                                             |
|---------|------------------------------------------------------------------------------|
| ok      | the complete and correct response                                            |
| closed  | a message on a websocket, overtaken by a close frame 1012                    |
| refused | the connection could not be opened: no process listens there                 |
| reset   | ECONNRESET or EPIPE in any call                                              |
| empty   | end of stream before the first byte of the response                          |
| timeout | no complete response within the limit                                        |
| wrong   | a response that is cut off, malformed, or not the expected one               |
"""

import enum

MAX_SHOWN = 200
"""Most characters of a text that are shown."""


class Outcome(enum.StrEnum):
    """The outcome of a request."""

    OK = "ok"
    CLOSED = "closed"
    REFUSED = "refused"
    RESET = "reset"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    WRONG = "wrong"

    @property
    def lost(self) -> bool:
        """Return whether the request got no correct response."""
        return self not in (Outcome.OK, Outcome.CLOSED)


class UnservedError(Exception):
    """A request ended without its response; `detail` says what was seen."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        self.outcome = outcome
        self.detail = shown(detail)
        super().__init__(f"{outcome}: {self.detail}")


def shown(text: str) -> str:
    """Return a text from the server in a form that can be shown: one short line."""
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
