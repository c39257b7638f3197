"""The overview as text."""

from __future__ import annotations

import pytest

from sockact.protocols import overview


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0s"),
        (59.4, "59s"),
        (60, "1min"),
        (191, "3min 11s"),
        (3600, "1h"),
        (7325, "2h 2min"),
        (86460, "1d 1min"),
        (90000.5, "1d 1h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert overview.span(seconds) == text
