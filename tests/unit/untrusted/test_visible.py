"""Text of others, made harmless."""

from __future__ import annotations

import pytest

from sockact.cli import prometheus
from sockact.protocols import overview
from sockact.protocols.notify import one_line, parse
from sockact.untrusted.text import told, visible, visible_lines

EVIL = "\x1b[2J\r\n\t\x00\x7f\x9b\u2028\u202e\ufeff\udc80"
SHOWN = r"\x1b[2J\r\n\t\x00\x7f\x9b\u2028\u202e\ufeff\udc80"


@pytest.mark.parametrize("text", ["", "plain", "Ünïcödé ✓ 日本 🙂", r"a\nb"])
def test_what_can_be_printed_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_what_cannot_be_printed_is_written_as_in_python() -> None:
    assert visible(EVIL) == SHOWN
    assert visible_lines("a\tb\r\nc\x1b") == ["a\tb\\r", "c\\x1b"]


def test_what_is_said_and_what_is_heard_is_in_one_line_and_visible() -> None:
    assert one_line("a\nMAINPID=1\x1b") == "a MAINPID=1 "
    assert parse(b"X_SOCKACT_VERSION=1\x1b[31m\rx") == {"X_SOCKACT_VERSION": r"1\x1b[31m\rx"}


class Speechless(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_that_cannot_say_what_it_is_has_its_kind() -> None:
    assert told(ValueError("no")) == "ValueError: no"
    assert told(Speechless()) == "Speechless: it has no text: RuntimeError"


def evil_service() -> dict[str, object]:
    """Return the answer of a service whose every text is hostile."""
    worker = overview.worker(1, 1, 1, EVIL, 1.0, None, EVIL)
    return {
        "phase": EVIL,
        "pid": 1,
        "status": EVIL,
        "generation": 1,
        "sockets": [{"name": EVIL, "kind": EVIL, "address": EVIL}],
        "reload": {"at": 0.0, "ok": True, "text": EVIL},
        "reloads": {"ok": 0, "failed": 0},
        "requests": 0,
        "workers": [worker],
    }


def test_the_status_of_a_hostile_service_is_visible() -> None:
    lines = overview.render(evil_service()).split("\n")

    assert all(line.isprintable() for line in lines)
    assert len(lines) == 6
    assert len(lines[-1]) == len(lines[-2])  # the columns are as wide as what is shown


def test_the_metrics_of_a_hostile_service_are_in_their_lines() -> None:
    lines = prometheus.render(evil_service()).split("\n")

    assert all(line.isprintable() for line in lines)
    assert all(line.startswith(("# ", "sockact_")) for line in lines)
