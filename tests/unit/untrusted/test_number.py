"""Decimal numbers from the environment and from datagrams."""

from __future__ import annotations

import pytest

from sockact.untrusted.number import decimal


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 19, 10**19 - 1)])
def test_a_decimal_number_is_read(text: str, number: int) -> None:
    assert decimal(text) == number


@pytest.mark.parametrize(
    "text", [None, "", "-1", "+1", " 1", "1\n", "1_0", "1.0", "0x1", "²", "\u0661", "9" * 20, "9" * 5000]
)
def test_anything_else_is_no_number(text: str | None) -> None:
    assert decimal(text) is None


def test_a_number_may_have_to_be_shorter() -> None:
    assert decimal("1" * 9, digits=9) == 111_111_111
    assert decimal("1" * 10, digits=9) is None
