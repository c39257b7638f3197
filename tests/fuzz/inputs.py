"""Inputs: the corpus of a target, and mutations of it for hypothesis."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.oracle import Target

CORPUS = Path(__file__).parent / "corpus"

NAMES = tuple(sorted(each.name for each in pkgutil.iter_modules(targets.__path__)))

MOST = 4096
"""Bytes of an input."""


class Fuzzed(NamedTuple):
    """A target with all that belongs to it.

    Attributes:
        name: the name of its module, and of its corpus.
        target: the function.
        dictionary: words for the mutations.
        large: the size up to which an input is multiplied; 0 where what is read is bounded anyway.
    """

    name: str
    target: Target
    dictionary: Sequence[bytes]
    large: int

    @classmethod
    def of(cls, name: str) -> Fuzzed:
        """Import a target."""
        module = importlib.import_module(f"{targets.__name__}.{name}")
        return cls(name, module.target, module.DICTIONARY, getattr(module, "LARGE", 0))

    @property
    def folder(self) -> Path:
        """The folder of its corpus."""
        return CORPUS / self.name

    def corpus(self) -> dict[str, bytes]:
        """Return its corpus, by the names of the files."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


def mutated(seeds: Sequence[bytes], dictionary: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return inputs that are like the seeds, with a few changes."""
    words = st.binary(max_size=6)
    if dictionary:
        words |= st.sampled_from(list(dictionary))
    if seeds:
        words |= st.builds(_part, st.sampled_from(list(seeds)), st.integers(0, MOST), st.integers(1, 64))
    change = st.tuples(st.integers(0, MOST), st.sampled_from([0, 0, 0, 1, 1, 2, 4, 16, MOST]), words)
    first = st.sampled_from(list(seeds)) if seeds else st.just(b"")
    return st.builds(_changed, first, st.lists(change, max_size=6)) | st.binary(max_size=80)


def at_random(rng: random.Random, seeds: Sequence[bytes], dictionary: Sequence[bytes]) -> bytes:
    """Return such an input without hypothesis, many times as fast, which shrinks nothing."""
    data = rng.choice(seeds) if seeds else b""
    changes = []
    for _ in range(rng.randint(1, 5)):
        kind = rng.randrange(4)
        if kind == 0 or not (dictionary and seeds):
            word = rng.randbytes(rng.randint(0, 4))
        elif kind == 1:
            word = _part(rng.choice(seeds), rng.randrange(MOST), rng.randint(1, 64))
        else:
            word = rng.choice(dictionary)
        changes.append((rng.randrange(MOST), rng.choice((0, 0, 0, 1, 1, 2, 4, 16, MOST)), word))
    return _changed(data, changes)


def _part(seed: bytes, place: int, size: int) -> bytes:
    begin = place % (len(seed) + 1)
    return seed[begin : begin + size]


def _changed(data: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Replace so many bytes at each place by a word."""
    for place, size, word in changes:
        begin = place % (len(data) + 1)
        data = data[:begin] + word + data[begin + size :]
    return data[:MOST]
