"""What the apps of all frameworks answer; `probes` compares it."""

PARTS = [f"part {number} of a stream\n" for number in range(500)]

LARGE = bytes(range(256)) * (2 * 1024 * 1024 // 256)
"""The body of a large download."""


class WantedError(Exception):
    """Raised by a handler whose client asks for it."""
