"""A planted fault of each kind is found."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.engines.http import head
from sockact.engines.http.reader import RequestReader
from sockact.errors import SettingsError
from sockact.handover import transfer
from sockact.protocols import worker_messages
from sockact.untrusted import ancillary
from tests.fuzz import __main__ as command
from tests.fuzz import oracle
from tests.fuzz.inputs import Fuzzed
from tests.fuzz.oracle import Broken, examine, examine_growth, examine_large
from tests.fuzz.search import search

SEEDS = [b"GET / HTTP/1.1\r\n\r\n", b"abc", b""]
WORDS = [b"\0\xff", b"key"]
LIMIT = 20.0


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "CPU", 0.3)
    monkeypatch.setattr(oracle, "CLOSED_WITHIN", 0.2)


def test_a_crash_is_found_by_a_word_of_the_dictionary_and_made_small() -> None:
    tried: list[bytes] = []

    def target(data: bytes) -> None:
        tried.append(data)
        if b"\0\xff" in data and b"GET" in data:
            raise KeyError(data)

    with pytest.raises(KeyError):
        search(target, SEEDS, WORDS, LIMIT)
    assert (
        min((data for data in tried if b"\0\xff" in data and b"GET" in data), key=len).count(b"\0\xff") == 1
    )


def test_an_error_of_sockact_is_an_answer() -> None:
    def target(data: bytes) -> None:
        raise SettingsError(repr(data))

    assert search(target, SEEDS, WORDS, 0.2) > 1


def loops_for_ever(data: bytes) -> None:
    while True:
        try:
            sum(data * 1000)
        except Exception:  # noqa: BLE001 - as careless code does
            continue


def test_a_loop_without_an_end_is_found() -> None:
    with pytest.raises(Broken, match=r"no end: 0\.3 s of CPU"):
        examine(loops_for_ever, b"x")


def test_a_wait_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "WALL", 0.2)

    with pytest.raises(Broken, match=r"no end: 0\.2 s on the clock"):
        examine(lambda _: time.sleep(100), b"x")


@pytest.fixture
def left() -> Iterator[list[int]]:
    left: list[int] = []
    yield left
    for fd in left:
        os.close(fd)


def test_a_descriptor_that_stays_open_is_found(left: list[int]) -> None:
    with pytest.raises(Broken, match="1 descriptors stay open"):
        examine(lambda _: left.append(os.dup(0)), b"x")


def test_a_descriptor_that_is_closed_by_another_thread_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "CLOSED_WITHIN", LIMIT)

    examine(lambda _: ancillary.close([os.open("/dev/null", os.O_RDONLY)]), b"x")


@pytest.mark.parametrize("kept", [lambda _: bytes(100), lambda data: [data], lambda _: object()])
def test_memory_that_grows_is_found(kept: Callable[[bytes], Any]) -> None:
    everything: list[Any] = []

    with pytest.raises(Broken, match="memory grows"):
        examine_growth(lambda data: everything.append(kept(data)), [b"a", b"b"])


def test_a_cache_that_is_full_in_the_end_is_no_growth() -> None:
    cache: dict[bytes, bytes] = {}

    examine_growth(lambda data: cache.update({data: bytes(1000)}), [b"a", b"b"])


def quadratic(data: bytes) -> None:
    seen = b""
    for place in range(len(data)):
        seen = seen + data[place : place + 1]


def test_quadratic_time_is_found() -> None:
    examine(quadratic, b"abc")
    examine_large(lambda data: data.count(b"b"), b"abc", 1 << 20)

    with pytest.raises(Broken, match="no end"):
        examine_large(quadratic, b"abc", 1 << 20)


def test_the_command_writes_the_input_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def target(data: bytes) -> None:
        if b"key" in data:
            raise KeyError("planted")

    planted = Fuzzed("predecessor", target, WORDS, 0)

    assert command._at_random(planted, 20, tmp_path, 1)
    (found,) = tmp_path.iterdir()
    assert b"key" in found.read_bytes()
    assert "KeyError: 'planted'" in capsys.readouterr().out
    assert not command._at_random(planted._replace(target=len), 0, tmp_path, 1)


# Faults that sockact does not have.


def keeps_blanks(self: RequestReader, name: bytes, value: bytes) -> None:
    self._fields.append((name.lower(), value))


def takes_one_more(self: RequestReader, data: bytes) -> int:
    return min(len(data), size_in_body(self, data) + 1)


size_in_body = RequestReader._size_in_body


def drops_what_is_repeated(request: head.Request, value: bytes) -> None:
    request.hosts = 1


PLANTED: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "blanks behind a value": (
        "http",
        lambda patch: patch.setattr(RequestReader, "on_header", keeps_blanks),
    ),
    "a byte too many of a body": (
        "http",
        lambda patch: patch.setattr(RequestReader, "_size_in_body", takes_one_more),
    ),
    "any number of Host fields": (
        "http",
        lambda patch: patch.setitem(head._LOOKED_AT, b"host", drops_what_is_repeated),
    ),
    "a text of several lines in a notification": (
        "notifier",
        lambda patch: patch.setattr(worker_messages, "one_line", lambda text: text),
    ),
    "descriptors that are not closed": (
        "supply",
        lambda patch: patch.setattr(transfer.ancillary, "close", lambda _: None),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_planted_in_sockact_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    name, plant = PLANTED[fault]
    fuzzed = Fuzzed.of(name)
    examine_all(fuzzed)
    before = set(os.listdir("/proc/self/fd"))
    plant(monkeypatch)

    with pytest.raises(Broken):
        examine_all(fuzzed)

    for fd in set(os.listdir("/proc/self/fd")) - before:  # programs that later tests start would have them
        with contextlib.suppress(OSError):
            os.close(int(fd))


def examine_all(fuzzed: Fuzzed) -> None:
    for data in fuzzed.corpus().values():
        examine(fuzzed.target, data)
