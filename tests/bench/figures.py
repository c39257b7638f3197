"""Several measurements of one thing, as one line."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from sockact.probe.account import percentile


def spread(values: Sequence[float], unit: str) -> str:
    """Say what was found: the median, and between what the values lie."""
    return (
        f"{statistics.median(values):.1f} {unit} ({min(values):.1f} to {max(values):.1f}, n={len(values)})"
    )


def cell(values: Sequence[float], digits: int = 0) -> str:
    """Say the same, without unit and number, for a table."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return the lines of a table; its first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(["", *map(str.ljust, row, widths)]).rstrip()


def ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """Say how the first of each pair relates to the second, which was measured beside it."""
    ratios = [one / other for one, other in pairs]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def p95(values: Sequence[float]) -> float:
    """Return what 95 of 100 values do not exceed."""
    found = percentile(sorted(values), 95)
    assert found is not None
    return found
