"""The table of differences from h11: each has its reason, and is needed."""

from __future__ import annotations

import contextlib
import re

import pytest

from tests.fuzz.differences import LAXER, STRICTER, Difference
from tests.fuzz.inputs import Fuzzed
from tests.fuzz.oracle import Broken, examine


def test_each_difference_names_its_source() -> None:
    assert [each.reason for each in STRICTER + LAXER if not re.search(r"RFC 9\d\d\d, ", each.reason)] == []


def test_each_difference_explains_an_input_that_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    explains = Difference.explains
    found: dict[tuple[bytes, bytes], list[str]] = {}

    def note(each: Difference, head: bytes, tail: bytes) -> bool:
        if explains(each, head, tail):
            found.setdefault((head, tail), []).append(each.reason)
        return False

    monkeypatch.setattr(Difference, "explains", note)
    http = Fuzzed.of("http")
    for data in http.corpus().values():
        with contextlib.suppress(Broken):
            examine(http.target, data)

    alone = {reasons[0] for reasons in found.values() if len(reasons) == 1}
    assert [each.reason for each in STRICTER + LAXER if each.reason not in alone] == []
