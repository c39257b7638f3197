"""A connection over TLS, as strict as `wire`.

    close_notify                 the server has ended the stream properly, as FIN does without TLS
    FIN without it               the stream was truncated (RFC 8446, section 6.1): `reset`

Certificates are not verified: the probe checks only whether requests are served.
Rejected: asyncio's TLS, for the reasons why `wire` does not use its streams.
"""

import ssl
from functools import cache
from typing import Self

from .outcome import Outcome, UnservedError
from .wire import RECV_BYTES, RECVS_PER_TURN, Address, Connection, IdleState


class TlsConnection(Connection):
    """A connection whose data OpenSSL encrypts and decrypts."""

    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _tls: ssl.SSLObject

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect, and do the TLS handshake.

        Raises:
            UnservedError: as `Connection.open`; `wrong` if the handshake fails.
        """
        connection = await super().open(address)
        try:
            await connection.shake_hands()
        except BaseException:
            connection.close()
            raise
        return connection

    async def shake_hands(self) -> None:
        """Do the TLS handshake."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await super().send(self._outgoing.read())
                await self._feed()
            except ssl.SSLError as error:
                raise _unserved(error) from error
            else:
                await super().send(self._outgoing.read())
                return

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise _unserved(error) from error
        await super().send(self._outgoing.read())

    async def receive(self) -> bytes:
        """Return the data that has arrived, at least one byte; b"" at the end of the stream."""
        while True:
            try:
                return self._tls.read(RECV_BYTES)
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLError as error:
                raise _unserved(error) from error

    def look(self) -> IdleState:
        """Check the idle connection without waiting; session tickets are no unsolicited data."""
        try:
            for _ in range(RECVS_PER_TURN):
                if not (data := self._sock.recv(RECV_BYTES)):
                    self._incoming.write_eof()
                    break
                self._incoming.write(data)
            else:
                return IdleState.UNSOLICITED  # so much data cannot be session tickets
        except BlockingIOError:
            pass
        except OSError:
            return IdleState.RESET
        try:
            return IdleState.UNSOLICITED if self._tls.read(1) else IdleState.CLOSED
        except ssl.SSLWantReadError:
            return IdleState.ALIVE
        except ssl.SSLError:
            return IdleState.RESET

    async def _feed(self) -> None:
        """Wait for encrypted data from the server."""
        if data := await super().receive():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # Python's default ignores a truncated stream
    return context


def _unserved(error: ssl.SSLError) -> UnservedError:
    # One of the two, depending on the versions of Python and OpenSSL.
    if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return UnservedError(Outcome.RESET, "end of stream without close_notify")
    return UnservedError(Outcome.WRONG, f"TLS: {error.reason or error}")
