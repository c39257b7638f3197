"""No input of the corpus, nor what is like one, makes sockact crash, hang, leak or grow."""

from __future__ import annotations

import pytest

from tests.fuzz.inputs import NAMES, Fuzzed
from tests.fuzz.oracle import examine, examine_growth, examine_large
from tests.fuzz.search import LEAST, search

SECONDS = 1.0
"""Seconds of a search for each target."""

GROWN = 6
"""Inputs of a target that are repeated, and as many that are multiplied."""


@pytest.fixture(params=NAMES)
def fuzzed(request: pytest.FixtureRequest) -> Fuzzed:
    return Fuzzed.of(request.param)


def some(fuzzed: Fuzzed) -> list[bytes]:
    """Return inputs from all parts of a corpus."""
    inputs = list(fuzzed.corpus().values())
    return inputs[:: len(inputs) // GROWN + 1]


def test_the_corpus_breaks_no_promise(fuzzed: Fuzzed) -> None:
    inputs = fuzzed.corpus()

    assert inputs
    for name, data in inputs.items():
        try:
            examine(fuzzed.target, data)
        except Exception as error:
            error.add_note(f"corpus/{fuzzed.name}/{name}")
            raise


def test_what_is_like_the_corpus_breaks_no_promise(fuzzed: Fuzzed) -> None:
    assert search(fuzzed.target, list(fuzzed.corpus().values()), fuzzed.dictionary, SECONDS) >= LEAST


def test_memory_does_not_grow(fuzzed: Fuzzed) -> None:
    examine_growth(fuzzed.target, some(fuzzed))


@pytest.mark.parametrize("name", [name for name in NAMES if Fuzzed.of(name).large])
def test_time_is_linear(name: str) -> None:
    fuzzed = Fuzzed.of(name)

    for data in some(fuzzed):
        examine_large(fuzzed.target, data, fuzzed.large)
