"""Changes to a service, made again and again, that its clients must not see."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.machine.machine import Machine
from tests.support.machine.service import ALONE, configure, install


@dataclass(frozen=True, slots=True)
class Change:
    """A way to bring a new version of the load app into service.

    Attributes:
        verb: the command of systemctl.
        workers: how many serve; 0: the main process itself.
        rounds: how often it is to be done without a loss.
    """

    verb: str
    workers: int
    rounds: int

    def __str__(self) -> str:
        return f"{self.verb} with {self.workers} workers"

    def start(self, machine: Machine, *options: str) -> None:
        """Start the first version; nothing but a loss closes a connection."""
        install(machine, 1)
        options = (f"--workers={self.workers}", "--probation=0.1s", "--keep-alive=1h", *options)
        configure(machine, *options, service="" if self.workers else ALONE)
        machine.run("systemctl", "start", "app.socket", "app.service")

    def make(self, machine: Machine, rounds: int) -> None:
        """Bring the versions from the second on into service."""
        for version in range(2, rounds + 2):
            install(machine, version)
            machine.run("systemctl", self.verb, "app.service")


CHANGES = (
    Change("reload", 4, 100),
    Change("reload", 0, 50),
    Change("restart", 4, 50),
    Change("restart", 0, 50),
)
