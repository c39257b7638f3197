"""Reads an input as values: for targets whose input is more than the bytes that somebody sends."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Values:
    """The bytes of an input, taken from the front; at the end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def bytes(self, size: int) -> bytes:
        """Take so many bytes."""
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def number(self, most: int) -> int:
        """Take a number from 0 to `most`, of one byte, or more if it has to."""
        size = 1 if most < 256 else 8
        return int.from_bytes(self.bytes(size), "big") % (most + 1)

    def pick(self, choices: Sequence[T]) -> T:
        """Take one of several."""
        return choices[self.number(len(choices) - 1)]

    def line(self) -> bytes:
        """Take what is before the next line feed."""
        taken, _, self.rest = self.rest.partition(b"\n")
        return taken


def cut(data: bytes) -> list[bytes]:
    """Cut an input into pieces, as a network might: always the same ones for the same input."""
    rng = random.Random(zlib.crc32(data))
    most = max(rng.choice((1, 2, 3, 7, 40, 400)), len(data) // 100)
    pieces = []
    while data:
        size = rng.randint(1, most)
        pieces.append(data[:size])
        data = data[size:]
    return pieces
