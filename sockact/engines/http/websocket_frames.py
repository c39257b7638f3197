"""The frames of a WebSocket, by `websockets`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator
from typing import NamedTuple, Self

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

_COMPRESSION = {"memLevel": 5}


class WebSocketLimits(NamedTuple):
    """The settings of WebSockets; times in seconds, None for no limit."""

    max_message: int | None
    ping_interval: float | None
    ping_timeout: float | None
    compression: bool


class Frames(ServerProtocol):
    """The frames of a WebSocket whose handshake is done."""

    takes_over = True
    """Whether a compressed message may refer to those before it."""

    def __init__(self, limits: WebSocketLimits) -> None:
        deflate = ServerPerMessageDeflateFactory(
            server_no_context_takeover=not self.takes_over,
            client_no_context_takeover=not self.takes_over,
            server_max_window_bits=12,
            client_max_window_bits=12,
            compress_settings=_COMPRESSION,
        )
        super().__init__(
            extensions=[deflate] if limits.compression else None,
            state=State.OPEN,
            max_size=limits.max_message,
            logger=_QUIET,
        )

    def recv_frame(self, frame: Frame) -> None:
        """Receive a frame; a close frame may come inside a fragmented message (RFC 6455, section 5.5.1)."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


_QUIET = logging.getLogger("sockact.websockets")
_QUIET.setLevel(logging.CRITICAL)


class RecordingReader(StreamReader):
    """A reader that keeps the bytes of the frame under way.

    Attributes:
        taken: the bytes that the parser has taken since the last frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes | bytearray] = []

    def read_exact(self, n: int) -> Generator[None, None, bytearray]:
        """Read so many bytes."""
        data = yield from super().read_exact(n)
        self.taken.append(data)
        return data


class MovableFrames(Frames):
    """The frames of a WebSocket that can move between any two bytes.

    The frames of each message are kept as they have come, until the app has received it: the next process
    reads them again. No message refers to those before it, so that its decompression can begin anew there.
    Pings, pongs and close frames are not kept: they have had their effect.
    """

    takes_over = False

    def __init__(self, limits: WebSocketLimits) -> None:
        super().__init__(limits)
        self._messages: deque[bytes] = deque()
        self._part = bytearray()
        self.reader: RecordingReader = RecordingReader()
        self.parser = self.parse()
        next(self.parser)

    @classmethod
    def negotiated(cls, limits: WebSocketLimits, window_bits: tuple[int, int] | None) -> Self:
        """Return the frames of a WebSocket that has brought this from another process.

        Args:
            limits: the settings.
            window_bits: of the client's compression and of ours; None without compression.
        """
        frames = cls(limits)
        if window_bits is not None:
            remote, local = window_bits
            frames.extensions = [PerMessageDeflate(True, True, remote, local, _COMPRESSION)]
        return frames

    @property
    def window_bits(self) -> tuple[int, int] | None:
        """Return the window bits of the client's compression and of ours; None without compression."""
        for each in self.extensions:
            if isinstance(each, PerMessageDeflate):
                return each.remote_max_window_bits, each.local_max_window_bits
        return None

    def recv_frame(self, frame: Frame) -> None:
        """Receive a frame, and keep its bytes if they belong to a message."""
        super().recv_frame(frame)
        taken, self.reader.taken = self.reader.taken, []
        if frame.opcode in _OF_MESSAGES and self.state is State.OPEN:
            self._part += b"".join(taken)
            if frame.fin:
                self._messages.append(bytes(self._part))
                self._part.clear()

    def on_received(self) -> None:
        """Forget the bytes of the oldest message, which the app has received."""
        self._messages.popleft()

    def unread(self) -> bytes:
        """Return the bytes of all messages that the app has not received, the one under way included."""
        reader = self.reader
        return b"".join([*self._messages, self._part, *reader.taken, reader.buffer])


_OF_MESSAGES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
