"""Walks: performs the steps of a seed, and looks after each of them at the losses and at the service."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable

from tests.chaos.oracle import CLOSED
from tests.chaos.register import ACTS
from tests.chaos.walk import Step
from tests.chaos.world import LABELS, FaultError, World

FAULTS = re.compile(
    r"overflowed sigaltstack|segfault|Segmentation|Traceback|Fatal Python error|exit status 70|status=70"
    r"|Assertion|core-dump|general protection"
)
"""What no line of the journal may say unless an event explains it."""

EXPECTED = {
    "broken": ("Traceback",),
    # In the moment before our first line, in which a signal does what it does to any Python.
    "quit_at_once": ("core-dump",),
    "tell name=INT": ("Traceback",),
    "hang_worker": ("Fatal Python error",),
    "hang_supervisor": ("Fatal Python error", "core-dump", "status=6/ABRT"),
}
STORED = 8
"""Descriptors in systemd's store for each worker at most, and for those of the generation before."""


class Walker:
    """Performs steps on a world, and tells each of them with its time.

    Attributes:
        events: how often each event was performed.
    """

    def __init__(self, world: World, tell: Callable[[str], None]) -> None:
        self.events: Counter[str] = Counter()
        self._world = world
        self._tell = tell
        self._began = time.monotonic()
        self._since = time.time()
        self._recent: list[str] = []

    def summary(self) -> str:
        """Return what the walk came to."""
        world, seconds = self._world, time.monotonic() - self._began
        counts, lost = world.load.counts, sum(world.oracle.excused.values())
        events = ", ".join(f"{name} {count}" for name, count in sorted(self.events.items()))
        excused = ", ".join(f"{count} by {event}" for event, count in sorted(world.oracle.excused.items()))
        return (
            f"{seconds / 60:.1f} minutes, {self.events.total()} events, {counts['requests']:,} requests, "
            f"{lost} lost as they may be ({excused}), {len(world.oracle.unexplained)} otherwise, "
            f"longest answer {counts['longest']:.1f} s\n{events}"
        )

    def walk(self, steps: Iterable[Step], seconds: float, most: int | None = None) -> None:
        """Perform steps for so many seconds, or so many of them.

        Raises:
            FaultError: something happened that no event may cause.
        """
        self.settle()
        for step in steps:
            if time.monotonic() - self._began > seconds or (most is not None and step.number > most):
                break
            self.perform(step)
        self.settle()
        self._world.load.end()
        self.judge(ended=True)

    def perform(self, step: Step) -> None:
        """Do what a step says; wait until all is as expected, if it says so."""
        self._tell(f"{time.monotonic() - self._began:8.2f} s  {step.number:4}  {step}")
        self._recent.append(str(step))
        ACTS[step.event](self._world, **step.arguments)
        self.events[step.event] += 1
        if step.settle:
            self.settle()
        else:
            self.judge()
        time.sleep(step.pause)

    def settle(self) -> None:
        """Wait until the service is as expected, and every load is served; then look at everything."""
        world = self._world
        found = "?"

        def settled() -> bool:
            nonlocal found
            self.judge()
            found = unsettled(world)
            return not found

        try:
            world.wait("", settled)
        except FaultError as error:
            raise FaultError(f"{error}{found}") from error
        before = dict(world.load.served)
        world.wait(
            "every load is served",
            lambda: all(world.load.served.get(label, 0) > before.get(label, 0) for label in LABELS),
        )
        self.judge()
        self.read_journal()
        self._recent.clear()

    def judge(self, *, ended: bool = False) -> None:
        """Fail if a loss has no excuse, or if the load has ended too early."""
        world = self._world
        if not ended and not world.load.alive():
            raise FaultError("the load has ended")
        while world.load.slow:
            self._tell(f"{'':16}{world.load.slow.pop()}")
        losses = world.load.losses()
        if not world.setup.keeps:
            losses = [loss for loss in losses if loss.outcome != CLOSED]
        unexplained = world.oracle.judge(losses)
        world.oracle.forget(time.monotonic())
        if unexplained:
            raise FaultError("lost: " + "; ".join(map(str, unexplained)))

    def read_journal(self) -> None:
        """Fail if the journal has a line that no event since the last look explains."""
        world, since, self._since = self._world, self._since, time.time()
        recent = " ".join(self._recent)
        known = {text for event, texts in EXPECTED.items() if event in recent for text in texts}
        for line in journal(world, since).splitlines():
            said = FAULTS.search(line)
            if said and not any(text in line for text in known):
                raise FaultError(f"in the journal: {line}")


def journal(world: World, since: float) -> str:
    world.machine.run("journalctl", "--sync", check=False)
    command = ("journalctl", "--output=short-precise", f"--since=@{since:.6f}")
    return world.machine.run(*command, check=False).stdout


def unsettled(world: World) -> str:
    """Return what is not yet as expected, empty if all is."""
    shown = world.show()
    if shown["SubState"] != "running":
        return f"systemd says {shown}"
    status = world.status()
    if "refused" in status:
        return f"no status: {status['refused']}"
    workers = status["workers"]
    newest = max((row["generation"] for row in workers), default=0)
    odd = [row for row in workers if row["phase"] != "ready" or row["generation"] != newest]
    processes = world.inside.processes()
    known = {status["pid"], *(row["pid"] for row in workers)}
    rows = world.workers or 1  # a service without workers shows itself as one
    template = 1 if "--preload" in world.setup.options else 0
    checks = {
        f"the main PID is {shown['MainPID']}, the status says {status['pid']}": int(shown["MainPID"])
        != status["pid"],
        f"workers: {workers}": bool(odd) or len(workers) != rows,
        f"processes {sorted(processes)}, known {sorted(known)}": not known <= processes.keys()
        or len(processes) > len(known) + template,
        f"{shown['NFileDescriptorStore']} descriptors stored": int(shown["NFileDescriptorStore"])
        > STORED * (rows + template),
    }
    wrong = [what for what, fails in checks.items() if fails]
    if not wrong and (version := served_version(world)) != str(world.version):
        wrong = [f"version {version} serves, not {world.version}"]
    if not wrong and not world.setup.alone:
        wrong = grown(world, processes[status["pid"]], template)
    return "; ".join(wrong)


def served_version(world: World) -> str:
    url = "http://127.0.0.1:8000/"
    script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=60).headers['x-version'])"
    return world.machine.run("/usr/bin/python3", "-c", script, check=False, timeout=90).stdout.strip()


GROWTH = 6
"""Descriptors that a supervisor may hold more than the first one that was seen with as many workers."""


def grown(world: World, supervisor: int, template: int) -> list[str]:
    """Return that the supervisor holds more descriptors than any like it did."""
    held = world.inside.descriptors(supervisor)
    first = world.usage.setdefault((world.workers, f"{template}"), held)
    return [f"the supervisor holds {held} descriptors, once {first}"] if held > first + GROWTH else []
