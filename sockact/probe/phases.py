"""The parts of a run: before, during and after each action.

A request belongs to an action if any moment of its life does: the effect of the action may show later. All
others belong to the time before, between or after, in which they began and ended.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from .account import Ledger
from .outcome import Outcome
from .record import Mark


@dataclass(slots=True)
class RunPhase:
    """A part of a run: its requests, and its longest stall.

    `mark` is its action; None before, between and after actions. `latencies` are sorted, and those of
    served requests that take no time by themselves.
    """

    name: str
    mark: Mark | None
    stall: float | None
    requests: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list)


def phases(ledger: Ledger, marks: Sequence[Mark]) -> list[RunPhase]:
    """Divide a run.

    Args:
        ledger: its requests, and its windows, which begin and end with the actions; without them no phase
            has a stall.
        marks: its actions, one after another.
    """
    record = ledger.record
    stalls: Sequence[float | None] = [window.stall for window in ledger.windows]
    if len(stalls) != 2 * len(marks) + 1:
        stalls = [None] * (2 * len(marks) + 1)
    found = [RunPhase(name, mark, stalls[number]) for number, (name, mark) in enumerate(_names(marks))]
    ends = [mark.ended for mark in marks]
    kinds = [(kind.outcome, kind.load in ledger.prompt) for kind in record.kinds]
    for due, taken, which in zip(record.due, record.taken, record.which, strict=True):
        # The first action that had not ended when the request was due is the only one it can belong to.
        after = bisect_left(ends, due)
        during = after < len(marks) and due + taken >= marks[after].began
        phase = found[2 * after + during]
        phase.requests += 1
        outcome, prompt = kinds[which]
        phase.lost += outcome.lost
        if outcome is Outcome.OK and prompt:
            phase.latencies.append(taken)
    for phase in found:
        phase.latencies.sort()
    return found


def _names(marks: Sequence[Mark]) -> list[tuple[str, Mark | None]]:
    if not marks:
        return [("the whole run", None)]
    names: list[tuple[str, Mark | None]] = [("before", None)]
    for mark in marks:
        names += [(mark.label, mark), ("between" if mark is not marks[-1] else "after", None)]
    return names
