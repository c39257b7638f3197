"""A picture of one connection over changes of a service: `tests.bench.picture FILE.svg CHANGE...`.

One client asks at fixed moments, on a connection that it keeps, while the service is changed, by default by
reloads and a restart. Each dot is a request: when it was due, how long after that its
response was there, and by its colour which process has answered. All of it is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.machine import serving
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import install, main_pid, wait_for
from tests.support.machine.supervised import kill

SECONDS = 6.0
INTERVAL = 0.02
CHANGES = ("reload", "reload", "reload", "restart")
FIRST, PAUSE = 0.6, 1.3  # a change that takes longer is followed by the next one at once
"""Seconds until the first change begins, and from the beginning of one to that of the next."""

OPTIONS = ("--workers=1", "--probation=0.1s")

WIDTH, HEIGHT = 800, 238
LEFT, RIGHT, TOP, BOTTOM = 52, 790, 50, 170
FASTEST, SLOWEST = 0.0002, 1.0
"""Seconds at the bottom and at the top, on a logarithmic scale: nothing else shows both ends."""

# One set for light and dark pages: a picture learns the browser's scheme, which need not be the page's.
COLOURS = ("#388bfd", "#e3811c", "#2ea043", "#db61a2", "#a371f7")
TEXT = "#768390"


@dataclass(frozen=True, slots=True)
class Answer:
    """A request: when it was due, how long after that it was answered, and by whom."""

    due: float
    seconds: float
    pid: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the service, from when until when."""

    what: str
    began: float
    ended: float


@dataclass(slots=True)
class Record:
    """The observations of a client; times are in seconds since it began, at `zero`."""

    zero: float
    answers: list[Answer] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    opened: int = 0
    failures: int = 0

    def now(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self.zero

    def sleep_until(self, when: float) -> None:
        """Wait for a moment, if it is not over."""
        time.sleep(max(when - self.now(), 0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.picture")
    parser.add_argument("file", metavar="FILE.svg", type=Path)
    parser.add_argument("changes", metavar="CHANGE", nargs="*", default=CHANGES, help=", ".join(DO))
    arguments = parser.parse_args()
    if unknown := set(arguments.changes) - set(DO):
        parser.error(f"no change {' '.join(unknown)}: expected some of {', '.join(DO)}")
    file, record = arguments.file, _measured(arguments.changes)
    file.write_text("\n".join(_drawn(record)) + "\n")
    print(f"{file}: {_summary(record)}")


def _measured(changes: Sequence[str]) -> Record:
    """Ask a service, as shipped and on real systemd, while it changes."""
    with serving("bookworm", *OPTIONS) as machine:
        record = Record(time.monotonic() + 1.0)
        asking = _ask_all(machine, record)
        for number, what in enumerate(changes):
            record.sleep_until(FIRST + number * PAUSE)
            began = record.now()
            DO[what](machine)
            record.changes.append(Change(what, began, record.now()))
        for line in asking.communicate()[0].splitlines():
            due, seconds, pid, connects = json.loads(line)
            record.opened += connects
            if pid is None:
                record.failures += 1
            else:
                record.answers.append(Answer(due, seconds, pid))
    return record


def _reload(machine: Machine) -> None:
    machine.run("systemctl", "reload", "app.service")


def _restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "app.service")


def _restart_in_vain(machine: Machine) -> None:
    install(machine, 2, "raise RuntimeError")
    assert machine.run("systemctl", "restart", "app.service", check=False).returncode
    install(machine, 3)
    wait_for(machine, "SubState=running")  # systemd tries again by itself


def _kill(machine: Machine) -> None:
    kill(machine, main_pid(machine))


DO: Mapping[str, Callable[[Machine], None]] = {
    "reload": _reload,
    "restart": _restart,
    "restart into broken code": _restart_in_vain,
    "kill -KILL": _kill,
}


def _ask_all(machine: Machine, record: Record) -> subprocess.Popen[str]:
    arguments = ("8000", str(record.zero), str(SECONDS), str(INTERVAL))
    command = machine.network(sys.executable, "-m", "tests.bench.client", *arguments)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


def _summary(record: Record) -> str:
    """Say what came of it."""
    requests = len(record.answers) + record.failures
    return (
        f"{requests} requests, {_count(record.opened, 'connection')}, {_count(record.failures, 'failure')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _drawn(record: Record) -> Iterator[str]:
    """Yield the lines of an SVG document."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" font-family="system-ui,sans-serif" font-size="12" fill="{TEXT}">'
    )
    changes = [change.what for change in record.changes]
    times = ", ".join(f"{changes.count(what)} x {what}" for what in dict.fromkeys(changes))
    yield f"<title>{times}: {_summary(record)}</title>"
    yield f'<text y="18" font-size="14" font-weight="600">{times}: {_summary(record)}</text>'
    yield f'<text x="{LEFT}" y="{HEIGHT - 8}">response time of each request, from when it was due</text>'
    yield from _axes()
    for change in record.changes:
        yield from _mark(change)
    yield from _dots(record.answers)
    yield "</svg>"


def _axes() -> Iterator[str]:
    for seconds, label in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s")):
        y = _y(seconds)
        yield f'<path d="M{LEFT} {y}H{RIGHT}" stroke="{TEXT}" stroke-opacity=".3"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>'
    for second in range(int(SECONDS) + 1):
        anchor = "end" if second == SECONDS else "middle"
        yield f'<text x="{_x(second)}" y="{BOTTOM + 15}" text-anchor="{anchor}">{second} s</text>'


def _mark(change: Change) -> Iterator[str]:
    x, width = _x(change.began), _x(change.ended) - _x(change.began)
    area = f'x="{x}" y="{TOP}" width="{width:.1f}" height="{BOTTOM - TOP}"'
    yield f'<rect {area} fill-opacity=".15"/>'
    yield f'<path d="M{x} {TOP - 4}V{BOTTOM}" stroke="{TEXT}"/>'
    yield f'<text x="{x}" y="{TOP - 9}">{change.what}</text>'


def _dots(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield a row of dots for each process, which is a path of points without a length, and its legend."""
    pids = list(dict.fromkeys(answer.pid for answer in answers))
    y = HEIGHT - 28
    yield f'<text x="{LEFT}" y="{y}">answered by</text>'
    for number, pid in enumerate(pids):
        colour = COLOURS[number % len(COLOURS)]
        points = [(_x(answer.due), _y(answer.seconds)) for answer in answers if answer.pid == pid]
        x = LEFT + 90 + number * 108
        path = "".join(f"M{left} {top}h0" for left, top in (*points, (x, y - 4)))
        yield f'<path d="{path}" stroke="{colour}" stroke-width="5" stroke-linecap="round"/>'
        yield f'<text x="{x + 9}" y="{y}">PID {pid}</text>'


def _x(seconds: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * seconds / SECONDS, 1)


def _y(seconds: float) -> float:
    share = math.log(max(seconds, FASTEST) / FASTEST) / math.log(SLOWEST / FASTEST)
    return round(BOTTOM - (BOTTOM - TOP) * min(share, 1), 1)


if __name__ == "__main__":
    main()
