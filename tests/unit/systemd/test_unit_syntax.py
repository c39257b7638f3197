"""The syntax of unit files, as systemd.syntax(7) and systemd.time(7) describe it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from sockact.systemd import unit_syntax
from sockact.systemd.unit_syntax import Assignment

SIZE = 1 << 20
PATIENCE = 3.0
"""Seconds of CPU: many times as many as linear time needs, and a part of those of quadratic time."""


def test_assignments_are_read_as_systemd_reads_them() -> None:
    text = "# no\n[Service]\nA = 1 \\\n# between\n  2\n;no\nA=3\n\nB=\nno assignment\n[Unit]\nC=x=y\n"

    assert list(unit_syntax.parse(text, "x")) == [
        Assignment("Service.A", "1  2", 3, 5, "x"),
        Assignment("Service.A", "3", 7, 7, "x"),
        Assignment("Service.B", "", 9, 9, "x"),
        Assignment("Unit.C", "x=y", 12, 12, "x"),
    ]


def test_an_empty_assignment_removes_those_before_it() -> None:
    text = "[Service]\nA=1\nB=1\nA=\nA=2\nA=3\nC=\n"

    assert [(each.option, each.value) for each in unit_syntax.in_force(unit_syntax.parse(text))] == [
        ("Service.A", "2"),
        ("Service.A", "3"),
        ("Service.B", "1"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("1min 30s", 90),
        ("1min30s", 90),
        ("2hr", 7200),
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("infinity", math.inf),
        ("", None),
        ("soon", None),
        ("5 parsecs", None),
        ("-1", None),
    ],
)
def test_a_time_span_is_read_as_systemd_reads_it(text: str, seconds: float | None) -> None:
    assert unit_syntax.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b", ["a", "b"]),
        ("sh -c 'a b' \"c 'd'\"", ["sh", "-c", "a b", "c 'd'"]),
        (r"a\x b\\c d\"e", [r"a\x", r"b\c", 'd"e']),
        ("'it\\'s' ''", ["it's", ""]),
        ("don't", ["don't"]),
        ("'open", ["open"]),
        ("", []),
    ],
)
def test_words_are_unquoted_as_systemd_unquotes_them(text: str, words: list[str]) -> None:
    assert unit_syntax.words(text) == words


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (unit_syntax.words, SIZE * "a"),
        (unit_syntax.words, "'" + SIZE * "a"),
        (unit_syntax.seconds, "1s" + SIZE // 8 * " " + "!"),
        (lambda text: list(unit_syntax.parse(text)), SIZE * "\\\n"),
        (lambda text: list(unit_syntax.parse(text)), SIZE // 2 * "a \\\n" + "b"),
    ],
    ids=["a word", "a quoted word", "blanks", "lines that go on", "one long line"],
)
def test_a_long_text_takes_linear_time(read: Callable[[str], Any], text: str) -> None:
    began = time.process_time()

    read(text)

    assert time.process_time() - began < PATIENCE
