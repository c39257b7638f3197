"""The load board, in whose rows a broken-into worker writes anything: it decides who is next, and no more.

An input is a sequence of writes, each with a row, a word and a value, and of what the others do.
"""

from __future__ import annotations

import math

from sockact.handover.exchange import Exchange
from sockact.protocols.load_board import ROWS, WORDS, OwnRow
from sockact.supervisor.balancer import Balancer
from tests.fuzz import loops
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"\0\1\3\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\2\2\0\0\0\0\0\0\0\2",
        b"\0\2\1\0\0\0\0\0\0\0\1",
        b"\1",
        b"\2",
        b"\3",
        b"\4",
    ),
    *(
        b"\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\2\7\x80\0\0\0\0\0\0\0",
        b"\0\1\4\xff\xff\xff\xff\xff\xff\xff\xff",
    ),
)

WORKERS = (1, 2, 3)
MOST = 60
"""Steps of an input."""


def target(data: bytes) -> None:
    """Balance, while an attacker writes."""
    loops.run(_balanced(Values(data)))


async def _balanced(values: Values) -> None:
    exchange = Exchange(lambda: WORKERS)
    balancer = Balancer(exchange, lambda: WORKERS, lambda: True)
    theirs, rows = [], {}
    for worker in WORKERS:
        theirs.append(exchange.supply(worker).theirs)
        exchange.take_orders(worker)
        passed = balancer.admit(worker, 1)
        rows[worker] = OwnRow.passed(passed) if passed is not None else None
    _go_on(balancer, rows, values)
    _supervise(balancer)
    for worker in WORKERS:
        balancer.forget(worker)
        exchange.forget(worker)
    for sock in theirs:
        assert sock is not None
        sock.close()
    balancer.close()


def _go_on(balancer: Balancer, rows: dict[int, OwnRow | None], values: Values) -> None:
    """Take the steps of an input."""
    board = balancer._board
    assert board is not None
    for _ in range(MOST):
        if not values.rest:
            break
        step = values.number(5)
        if step == 0:
            place = (values.number(5) * WORDS + values.number(WORDS - 1)) % ((1 + ROWS) * WORDS)
            board._words[place] = int.from_bytes(values.bytes(8), "big")
        elif step == 1:
            _supervise(balancer)
        else:
            row = rows[values.pick(WORKERS)]
            assert row is not None
            _work(row, step, values)


def _supervise(balancer: Balancer) -> None:
    balancer._adjusted = -math.inf
    balancer._look()
    balancer.look_soon()
    board = balancer._board
    assert board is not None
    for worker in WORKERS:
        load, row, time = balancer.holding(worker), board.read(worker), board.answer_time(worker)
        if load is not None and not (load.connections >= 0 and 0 < load.share <= 1):
            raise Broken(f"a load of {load}")
        if row is not None and not 0 < row.share <= 1:
            raise Broken(f"a row {row}")
        if time is not None and not 0 <= time < 2**64:
            raise Broken(f"an answer time of {time}")


def _work(row: OwnRow, step: int, values: Values) -> None:
    if step == 2:
        row.begin()
        row.note(values.number(200))
    elif step == 3:
        row.answered(values.number(255) / 100)
        row.receive(values.number(200))
        row.beat()
    elif step == 4:
        if row.yields():
            row.wait()
            if row.waited_in_vain() < 1:
                raise Broken("nobody takes a connection")
        if row.allowance() < 1:
            raise Broken(f"an allowance of {row.allowance()}")
    else:
        row.took()
        row.end()
