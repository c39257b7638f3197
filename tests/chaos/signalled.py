"""The signals that are documented, to the main process and to workers: one at a time, or many at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tests.chaos import events
from tests.chaos.register import event
from tests.chaos.world import CLIENTS, World


@event(5, name=["HUP", "USR2", "USR1", "TSTP", "URG", "TTIN", "TTOU", "TERM", "INT"])
def tell(world: World, name: str) -> None:
    """Send the main process a signal that is documented."""
    if name in ("HUP", "USR2", "TERM", "INT"):
        world.install()
    _, pid = world.main()
    number = signal.Signals[f"SIG{name}"]
    if name in ("TERM", "INT"):
        with world.excused("stop", most=0):
            world.inside.signal(pid, number)
            world.wait("the main process has ended", lambda: not world.inside.state(pid))
        world.restarted()
        return
    with drain_ends(world, pid) if name == "USR2" else nullcontext():
        world.inside.signal(pid, number)
    if name in ("HUP", "USR2"):
        world.version = world.installed
    elif name in ("TTIN", "TTOU") and not world.setup.alone:
        world.workers = max(world.workers + (1 if name == "TTIN" else -1), 1)


@contextmanager
def drain_ends(world: World, pid: int) -> Iterator[None]:
    """Excuse what SIGUSR2 aborts, if the service is draining: it ends the drain."""
    if world.show()["ActiveState"] != "deactivating":
        yield
        return
    with world.excused("SIGUSR2 in a drain", most=CLIENTS):
        yield
        world.wait("the main process has ended", lambda: not world.inside.state(pid))


@event(4, which=(0.0, 1.0), name=["TERM", "INT", "HUP", "USR1", "USR2", "TSTP", "URG"])
def tell_worker(world: World, which: float, name: str) -> None:
    """Send a worker a signal, as only its supervisor should: it may drain then, and be replaced."""
    victim = events.pick(world, which)
    with worker_drain_ends(world, victim) if name == "USR2" else nullcontext():
        world.inside.signal(victim, signal.Signals[f"SIG{name}"])


@contextmanager
def worker_drain_ends(world: World, victim: int) -> Iterator[None]:
    """Excuse the same of a worker."""
    if world.setup.alone:
        with drain_ends(world, victim):
            yield
        return
    if not drains(world, victim):
        yield
        return
    with world.excused("SIGUSR2 in a drain", ports=world.inside.ports(victim)):
        yield
        world.wait("the worker has ended", lambda: not world.inside.state(victim))


def drains(world: World, victim: int) -> bool:
    """Return whether a worker has served, and does not any more."""
    pids = {host: pid for pid, host in world.inside.processes().items()}
    rows = world.status().get("workers", ())
    return any(row["pid"] == pids.get(victim) and row["phase"] == "draining" for row in rows)


@event(2)
def quit_at_once(world: World) -> None:
    """QUIT ends without waiting: it costs what is in flight until all have ended."""
    world.install()
    _, main = world.main()
    before = set(world.inside.processes().values())
    with world.excused("SIGQUIT", most=CLIENTS):
        world.inside.signal(main, signal.SIGQUIT)
        world.wait("all have ended", lambda: not any(map(world.inside.state, before)))
    world.restarted()


BURST = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGURG,
    signal.SIGCHLD,
    signal.SIGWINCH,
)


@event(3, of=["supervisor", "supervisor", "worker"], which=(0.0, 1.0))
def burst(world: World, of: str = "supervisor", which: float = 0.0) -> None:
    """Stop a process, and let it get many signals at once: a supervisor then reloads."""
    if of == "supervisor":
        world.install()
        _, pid = world.main()
        world.version = world.installed
    else:
        pid = events.pick(world, which)
    with drain_ends(world, pid) if of == "supervisor" else worker_drain_ends(world, pid):
        world.inside.stop(pid)
        world.inside.signal(pid, *BURST, signal.SIGCONT)
