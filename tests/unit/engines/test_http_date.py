"""The field Date."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from sockact.engines.http.engine_state import http_date


@pytest.mark.parametrize("month", range(12))
def test_a_date_is_written_as_in_a_mail(month: int) -> None:
    for day in range(28):
        seconds = 1_700_000_000 + (30 * month + day) * 86_399
        assert http_date(seconds).decode() == formatdate(seconds, usegmt=True)
