"""What several apps answer."""

PARTS = [f"part {number} of a stream\n" for number in range(500)]

LARGE = bytes(range(256)) * (2 * 1024 * 1024 // 256)
"""The body of a large download."""

LONG = bytes(200_000)
"""A body that `wsgi_buffer` has room for, and the buffer of a socket of which nobody reads has not."""


class WantedError(Exception):
    """Raised by a handler whose client asks for it."""
