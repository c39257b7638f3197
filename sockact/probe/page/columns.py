"""Aggregates a run for the picture: columns of equal time, and the groups of processes that answered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from ..account import Ledger
from ..outcome import Outcome
from ..record import NOBODY, Identity, Record

MAX_COLUMNS = 100
STEPS = tuple(base * 10.0**power for power in range(-2, 4) for base in (1, 2, 5))
"""Widths of a column in seconds."""

MAX_GROUPS = 8
"""Most groups that have a colour and a name of their own; the last of them has all others."""


@dataclass(slots=True)
class Column:
    """The requests that were due in a part of the time: those that were served, by group, and all others.

    `latencies` are those of served requests that take no time by themselves.
    """

    start: float
    width: float
    served: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    closed: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """The number of requests."""
        return self.served.total() + self.lost + self.closed

    @property
    def median(self) -> float | None:
        """The median latency of those that were served."""
        return median(self.latencies) if self.latencies else None


@dataclass(frozen=True, slots=True)
class Groups:
    """The processes that answered, as the picture shows them: `of` has each identity's place in `names`."""

    names: tuple[str, ...]
    of: dict[Identity, int]


def step(seconds: float) -> float:
    """Return the width of a column."""
    return next((each for each in STEPS if seconds <= each * MAX_COLUMNS), STEPS[-1])


def columns(ledger: Ledger, seconds: float, groups: Groups) -> list[Column]:
    """Divide the requests of a run by the time at which they were due."""
    record, width = ledger.record, step(seconds)
    count = max(round(seconds / width), 1)
    found = [Column(number * width, width) for number in range(count)]
    # The last one takes what is left, or lacks something: a part of a column would look like a drop.
    found[-1].width = max(seconds - found[-1].start, width / 2)
    kinds = [
        (kind.outcome, kind.load in ledger.prompt, groups.of.get(kind.identity, 0)) for kind in record.kinds
    ]
    for due, taken, which in zip(record.due, record.taken, record.which, strict=True):
        column = found[min(int(due / width), len(found) - 1)]
        outcome, prompt, group = kinds[which]
        if outcome is Outcome.OK:
            column.served[group] += 1
            if prompt:
                column.latencies.append(taken)
        elif outcome.lost:
            column.lost += 1
        else:
            column.closed += 1
    return found


def merged(found: Iterable[Column], count: int) -> list[Column]:
    """Return every `count` columns as one."""
    result: list[Column] = []
    for number, column in enumerate(found):
        if number % count == 0:
            result.append(Column(column.start, 0.0))
        last = result[-1]
        last.width += column.width
        last.served += column.served
        last.lost += column.lost
        last.closed += column.closed
        last.latencies += column.latencies
    return result


def groups_of(record: Record) -> Groups:
    """Return the groups in order of appearance: processes, or versions if there are too many processes."""
    seen = dict.fromkeys(kind.identity for kind in record.kinds if kind.outcome is Outcome.OK)
    names = {identity: _name(identity) for identity in seen}
    if len(set(names.values())) > MAX_GROUPS:
        names = {identity: _name(Identity(identity.version, None)) for identity in seen}
    different = list(dict.fromkeys(names.values()))
    if len(different) > MAX_GROUPS:
        different[MAX_GROUPS - 1 :] = ["others"]
    places = {name: place for place, name in enumerate(different)}
    last = len(different) - 1
    return Groups(tuple(different), {who: places.get(name, last) for who, name in names.items()})


def _name(identity: Identity) -> str:
    if identity == NOBODY:
        return "served"
    version = "" if identity.version is None else f"version {identity.version}"
    pid = "" if identity.pid is None else f"PID {identity.pid}"
    return ", ".join(filter(None, (version, pid)))
