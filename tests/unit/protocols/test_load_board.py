"""The load board: its two ends, and what becomes of them when an attacker has written into the memory."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
from collections.abc import Iterator

import pytest

from sockact.protocols.load_board import (
    ACCEPTING,
    CONNECTIONS,
    GENERATION,
    LOAD,
    PATIENCE,
    ROWS,
    SIZE,
    STATE,
    TURNS,
    WORDS,
    LoadBoard,
    OwnRow,
)
from sockact.sockets.fds import Kind, Listener
from tests.support.manager import open_descriptors


@pytest.fixture
def board() -> Iterator[LoadBoard]:
    board = LoadBoard()
    yield board
    board.close()


def worker(board: LoadBoard, number: int, connections: int = 0, generation: int = 1) -> OwnRow:
    """Return the end of a worker that accepts, and has so many connections."""
    passed = board.assign(number, generation)
    assert passed is not None
    row = OwnRow.passed(passed)
    assert row is not None
    row.begin()
    row.note(connections)
    return row


def test_a_supervisor_reads_what_a_worker_has_written(board: LoadBoard) -> None:
    row = worker(board, 7)
    row.note(3)
    row.receive(5)
    row.beat()
    for milliseconds in (1, 30, 2):
        row.answered(milliseconds / 1000)

    found = board.read(7)

    assert found is not None
    assert found == (True, 5, 1, 1, 3, 1.0)
    assert board.answer_time(7) == 0.002


def test_a_worker_that_knows_no_board_is_not_present(board: LoadBoard) -> None:
    passed = board.assign(7, 1)
    assert passed is not None
    passed.close()
    found = board.read(7)

    assert found is not None
    assert not found.present
    assert board.read(8) is None


def test_the_latest_response_times_count(board: LoadBoard) -> None:
    row = worker(board, 1)
    for _ in range(100):
        row.answered(0.5)
    for _ in range(20):
        row.answered(0.001)

    found = board.read(1)

    assert found is not None
    assert (found.answers, board.answer_time(1)) == (120, 0.001)


def test_a_row_is_used_again_after_the_end_of_its_worker(board: LoadBoard) -> None:
    worker(board, 1, 5)
    board.give_share(1, 0.5)
    board.release(1)
    board.release(1)
    passed = board.assign(2, 3)

    assert passed is not None
    assert passed.name == f"{LOAD}.1"
    passed.close()
    found = board.read(2)
    assert found is not None
    assert found == (False, 0, 0, 0, 0, 1.0)
    assert board.answer_time(2) is None
    assert board.answer_time(1) is None
    assert board.read(1) is None


def test_workers_beyond_the_last_row_have_none(board: LoadBoard) -> None:
    for number in range(1, ROWS + 1):
        passed = board.assign(number, 1)
        assert passed is not None
        passed.close()

    assert board.assign(ROWS + 1, 1) is None


def test_each_worker_writes_its_own_row(board: LoadBoard) -> None:
    for number in (5, 6):
        passed = board.assign(number, 1)
        assert passed is not None
        row = OwnRow.passed(passed)
        assert row is not None
        row.note(number)

    found = [board.read(number) for number in (5, 6)]
    assert [row.connections for row in found if row is not None] == [5, 6]


def test_a_worker_without_a_row_has_none(board: LoadBoard) -> None:
    assert OwnRow.passed(Listener(f"{LOAD}.0", os.dup(board._fd), Kind.OTHER)) is None
    assert OwnRow.passed(Listener(f"{LOAD}.7", os.open("/dev/null", os.O_RDWR), Kind.OTHER)) is None


def test_the_memory_is_passed_in_a_descriptor_of_its_own(board: LoadBoard) -> None:
    before = open_descriptors(os.getpid())
    passed = board.assign(1, 1)
    assert passed is not None
    row = OwnRow.passed(passed)

    assert row is not None
    assert open_descriptors(os.getpid()) <= before + 1  # Python's `mmap` keeps a copy


# Turns.


def test_the_least_loaded_worker_takes_the_next_connection(board: LoadBoard) -> None:
    more, less = worker(board, 1, 4), worker(board, 2, 3)

    assert more.yields()
    assert not less.yields()


def test_workers_with_as_many_take_what_comes(board: LoadBoard) -> None:
    rows = [worker(board, number, 3) for number in range(4)]

    assert not any(row.yields() for row in rows)


def test_a_crowd_need_not_be_quite_even(board: LoadBoard) -> None:
    more, _ = worker(board, 1, 101), worker(board, 2, 100)

    assert not more.yields()
    more.note(125)
    assert more.yields()


def test_a_single_worker_takes_what_comes(board: LoadBoard) -> None:
    row = worker(board, 1, 100)

    assert not row.yields()
    assert row.allowance() == float("inf")


@pytest.mark.parametrize("why", ["of another generation", "does not accept", "has ended", "knows no board"])
def test_nobody_waits_for_a_worker_that(why: str, board: LoadBoard) -> None:
    row = worker(board, 1, 5)
    if why == "knows no board":
        passed = board.assign(2, 1)
        assert passed is not None
        passed.close()
    else:
        other = worker(board, 2, generation=2 if why == "of another generation" else 1)
        if why == "does not accept":
            other.end()
        elif why == "has ended":
            board.release(2)

    assert not row.yields()


def test_a_worker_with_two_listeners_accepts_until_both_have_stopped(board: LoadBoard) -> None:
    row, other = worker(board, 1, 5), worker(board, 2)
    other.begin()
    other.end()

    assert row.yields()
    other.end()
    assert not row.yields()


def test_a_slow_worker_takes_fewer(board: LoadBoard) -> None:
    slow, usual = worker(board, 1, 1), worker(board, 2, 8)
    board.give_share(1, 0.1)

    assert slow.yields()
    assert not usual.yields()
    usual.note(30)
    assert not slow.yields()


def test_a_worker_that_does_not_look_is_waited_for_once(board: LoadBoard) -> None:
    row, hung = worker(board, 1, 5), worker(board, 2)

    assert row.yields()
    row.wait()
    assert row.waited_in_vain() == PATIENCE
    assert not row.yields()
    hung.yields()  # it has come back
    assert row.yields()


@pytest.mark.parametrize("sign", ["has looked", "has answered"])
def test_a_worker_is_waited_for_again_that(sign: str, board: LoadBoard) -> None:
    row, busy = worker(board, 1, 5), worker(board, 2)

    assert row.yields()
    row.wait()
    if sign == "has looked":
        busy.yields()
    else:
        busy.answered(0.1)
    row.waited_in_vain()

    assert row.yields()


def test_a_burst_is_shared(board: LoadBoard) -> None:
    """In each moment all wake up once, one after the other."""
    rng = random.Random(2)
    rows = [worker(board, number) for number in range(4)]
    counts, waiting = [0] * 4, 400
    while waiting:
        for awake in rng.sample(range(4), 4):
            row = rows[awake]
            most = row.waited_in_vain() if row.yields() else row.allowance()
            for _ in range(int(min(most, 16, waiting))):
                row.took()
                counts[awake] += 1
                waiting -= 1

    assert max(counts) <= 1.25 * sum(counts) / 4, counts


# An attacker.


def written(board: LoadBoard, word: int, value: int) -> None:
    mmap.mmap(board._fd, SIZE)[8 * word : 8 * word + 8] = value.to_bytes(8, "little")


def test_nobody_can_make_the_memory_shorter(board: LoadBoard) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(board._fd, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(board._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_arbitrary_memory_neither_stops_a_worker_nor_its_supervisor() -> None:
    rng = random.Random(3)
    values = [0, 1, 2, 1000, 1001, 2**31, 2**63, 2**64 - 1]
    for _ in range(150):
        board = LoadBoard()
        row, _ = worker(board, 1, 3), worker(board, 2)
        for word in range(3 * WORDS):
            if rng.random() < 0.7:
                written(board, word, rng.choice([*values, rng.getrandbits(64)]))

        row.note(4)
        row.receive(5)
        row.beat()
        row.answered(0.1)
        row.answered(-1)
        row.took()
        assert row.yields() in (True, False)
        row.wait()
        assert row.allowance() >= 1
        assert row.waited_in_vain() >= PATIENCE
        for number in (1, 2):
            found = board.read(number)
            assert found is not None
            assert 0 <= found.connections <= 1 << 20
            assert 0 < found.share <= 1
            assert (board.answer_time(number) or 0) >= 0
        board.release(1)
        board.close()


def test_a_worker_takes_something_however_little_others_seem_to_have(board: LoadBoard) -> None:
    row, _ = worker(board, 1, 1000), worker(board, 2)
    for turns in range(100):
        written(board, 2 * WORDS + CONNECTIONS, 0)
        written(board, 2 * WORDS + STATE, ACCEPTING)
        written(board, 2 * WORDS + TURNS, turns)
        assert row.yields()
        row.wait()
        assert row.waited_in_vain() >= PATIENCE


def test_a_worker_goes_on_whatever_its_own_row_says(board: LoadBoard) -> None:
    row = worker(board, 1)
    written(board, WORDS + CONNECTIONS, 2**64 - 1)
    written(board, WORDS + TURNS, 2**64 - 1)
    written(board, WORDS + GENERATION, 2**64 - 1)

    row.took()
    row.yields()

    found = board.read(1)
    assert found is not None
    assert found.connections == 1


@pytest.mark.parametrize("row", ["0", "1025", "99999", "x", "", "-1"])
def test_a_row_that_is_not_there_is_not_used(row: str, board: LoadBoard) -> None:
    passed = Listener(f"{LOAD}.{row}", os.dup(board._fd), Kind.OTHER)

    assert OwnRow.passed(passed) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passed.fd)


def test_memory_that_is_not_sealed_is_not_used() -> None:
    fd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SIZE)

    assert OwnRow.passed(Listener(f"{LOAD}.1", fd, Kind.OTHER)) is None


def test_a_file_is_not_used() -> None:
    fd = os.open("/dev/null", os.O_RDWR)

    assert OwnRow.passed(Listener(f"{LOAD}.1", fd, Kind.OTHER)) is None
