"""Figures of a run as words, for people."""


def duration(seconds: float | None) -> str:
    """Return a duration: `0.8 ms`, `40 ms`, `1.2 s`."""
    if seconds is None:
        return "-"
    milliseconds = seconds * 1000
    if milliseconds >= 999.5:
        return f"{seconds:.1f} s"
    return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"


def milliseconds(value: float | None) -> str:
    """Return a duration that is in milliseconds."""
    return duration(None if value is None else value / 1000)


def count(number: int, noun: str) -> str:
    """Return a number of things: `1 connection`, `1,204 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
