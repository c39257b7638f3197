"""The stream reader of a handler whose process may have to end before its client does."""

from __future__ import annotations

import asyncio

from sockact.handover.envelope import Moving


class HandlerReader(asyncio.StreamReader):
    """A stream reader that counts the bytes that were read, and that the drain can end."""

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
        """Buffer bytes from the client, unless the reader was ended."""
        if self._ended:
            return
        self._received += len(data)
        self.last_activity = self._loop.time()
        super().feed_data(data)

    def feed_eof(self) -> None:
        """Called when the client sends nothing more."""
        self.hung_up = True
        super().feed_eof()

    def go_on(self, transport: asyncio.Transport) -> None:
        """Read on after `Moving`, and resume the transport that was paused for it."""
        if isinstance(super().exception(), Moving):
            self._exception = None
        if not self._paused:  # type: ignore[attr-defined]  # paused when its buffer is full
            transport.resume_reading()

    def exception(self) -> Exception | None:
        """Return the error that ended the connection; not `Moving`, which must not stop a writer."""
        error = super().exception()
        return None if isinstance(error, Moving) else error

    def end(self, error: Exception | None) -> None:
        """Give the handler the end of the stream, or raise `error` in it, though the client may go on.

        A read of a whole line or of a number of bytes leaves the part that has arrived in the buffer when
        it gets an error.
        """
        if error is None:
            self._ended = True
            super().feed_eof()
        else:
            self.set_exception(error)

    @property
    def consumed(self) -> int:
        """Return the number of bytes that the handler has read."""
        return self._received - len(self._buffer)  # type: ignore[attr-defined]  # see `unread`

    @property
    def unread(self) -> bytes:
        """The bytes that have arrived and were not read."""
        return bytes(self._buffer)  # type: ignore[attr-defined]  # private, and there is no other way
