"""Scales of the picture: seconds, requests and latencies as places in it, and the ticks of its axes."""

import math

LEFT, RIGHT = 96.0, 944.0
FASTEST = 0.0001
"""Seconds at the bottom of the latencies, whose scale is logarithmic: nothing else shows both ends."""


def across(at: float, seconds: float) -> float:
    """Return the x of a time."""
    return round(LEFT + (RIGHT - LEFT) * min(max(at / max(seconds, 0.001), 0.0), 1.0), 1)


def rounded(value: float) -> float:
    """Return the next number with one significant digit, of 1, 2 or 5."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(base * power for base in (1, 2, 5, 10) if value <= base * power * (1 + 1e-9))


def ticks(most: float, count: int) -> list[float]:
    """Return some round numbers from 0 to at most `most`."""
    width = rounded(most / count)
    return [number * width for number in range(int(most / width + 1e-9) + 1)]


def decades(slowest: float) -> int:
    """Return the number of powers of ten that the latencies take: up to 10 ms at least."""
    return max(math.ceil(math.log10(max(slowest, FASTEST) / FASTEST) - 1e-9), 2)


def height(seconds: float, count: int) -> float:
    """Return the share of the latencies' height, from 0 to 1."""
    return min(math.log10(max(seconds, FASTEST) / FASTEST) / count, 1.0)
