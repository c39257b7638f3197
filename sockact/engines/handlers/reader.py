"""What a stream handler reads from, in a process that may have to end before its client does."""

from __future__ import annotations

import asyncio

from sockact.handover.envelope import Moving


class HandlerReader(asyncio.StreamReader):
    """A stream reader that knows what has come and was read, and can be told that nothing more will."""

    def __init__(self, unread: bytes) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.last_activity = self._loop.time()
        self.hung_up = False
        self._ended = False
        self._received = 0
        if unread:
            self.feed_data(unread)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # never other than bytes
        """Take what the client has sent, as long as the handler has not seen the end."""
        if self._ended:
            return
        self._received += len(data)
        self.last_activity = self._loop.time()
        super().feed_data(data)

    def feed_eof(self) -> None:
        """Take notice that the client sends nothing more."""
        self.hung_up = True
        super().feed_eof()

    def go_on(self, transport: asyncio.Transport) -> None:
        """Read on after `Moving`, also what was paused for it."""
        if isinstance(super().exception(), Moving):
            self._exception = None
        if not self._paused:  # type: ignore[attr-defined]  # because so much waits to be read
            transport.resume_reading()

    def exception(self) -> Exception | None:
        """Return what the connection died of; `Moving` is no reason for a writer to stop."""
        error = super().exception()
        return None if isinstance(error, Moving) else error

    def end(self, error: Exception | None) -> None:
        """Let whoever reads see the end, or `error`, though the client may go on.

        What waits for a whole line, or for a number of bytes, leaves what has come of it in the buffer when
        it gets an error.
        """
        if error is None:
            self._ended = True
            super().feed_eof()
        else:
            self.set_exception(error)

    @property
    def consumed(self) -> int:
        """How many bytes have been read from it."""
        return self._received - len(self._buffer)  # type: ignore[attr-defined]  # see `unread`

    @property
    def unread(self) -> bytes:
        """What has come and was not asked for."""
        return bytes(self._buffer)  # type: ignore[attr-defined]  # private, and there is no other way
