"""The events of a walk: what each does to the service, what it may cost, and what is expected after it."""

from __future__ import annotations

import signal
import time
from contextlib import nullcontext
from dataclasses import replace

from tests.chaos.register import event, expect, running
from tests.chaos.world import CLIENTS, NO_HANDOVER, World

# What an operator does. Nothing may be lost.


@event(10)
def reload(world: World) -> None:
    running(world)
    version = world.install()
    expect(world.systemctl("reload", "app.service", check=False), True, "reload")
    world.version = version


@event(8)
def restart(world: World) -> None:
    world.install()
    restart_now(world, "restart")


def restart_now(world: World, what: str) -> None:
    """Restart; in a reload systemd runs no ExecStop=, so that nobody tells the service that it is no stop.

    It then closes kept connections in good order.
    """
    reloading = world.show()["SubState"] == "reload"
    with world.excused("a restart in a reload", most=0) if reloading else nullcontext():
        expect(world.systemctl("restart", "app.service", check=False), True, what)
    world.restarted()


@event(5)
def stop(world: World) -> None:
    """The next connection starts it again; if it has ended by itself, that start cancels the stop."""
    world.install()
    with world.excused("stop", most=0):
        done = world.systemctl("stop", "app.service", check=False)
        expect(done, "Job for app.service canceled." not in done.stderr, "stop")
    world.restarted()


@event(4, seconds=(0.2, 2.0), then=["resume", "wait", "restart"])
def pause(world: World, seconds: float, then: str) -> None:
    """Let all clients wait; slow ones may be in flight until it is over, and then it has failed."""
    world.sockact("pause", f"--for={seconds}s")
    if then == "resume":
        world.sockact("resume")
    elif then == "restart":
        restart(world)
    world.wait("the pause is over", lambda: "paused" not in world.status().get("status", ""))


@event(2)
def daemon_reload(world: World) -> None:
    world.systemctl("daemon-reload")


@event(2)
def daemon_reexec(world: World) -> None:
    world.systemctl("daemon-reexec")


@event(
    4,
    workers=[1, 2, 2, 3],
    options=[(), (), ("--preload",), ("--max-requests=400",), (NO_HANDOVER,), ("--surge=1",)],
)
def edit(world: World, workers: int, options: tuple[str, ...]) -> None:
    world.install()
    if world.setup.alone:
        workers, options = 0, tuple(option for option in options if option == NO_HANDOVER)
    kept = world.setup.keeps
    world.configure(replace(world.setup, workers=workers, options=options))
    # Those that drain go by the options with which they were started.
    with nullcontext() if kept else world.excused("the end of workers that keep no connection", most=0):
        restart_now(world, "restart after an edit")


# What a broken release does.

BROKEN = {
    "syntax": "x = (",
    "import": "import module_that_is_missing",
    "startup": "async def app(scope, receive, send):\n await receive()\n raise RuntimeError('no database')",
    "hangs": "import time; time.sleep(3600)",
    "exits": "os._exit(3)",
}


@event(6, how=list(BROKEN), then=["reload", "restart"], tried=["reload", "restart"])
def broken(world: World, how: str, tried: str, then: str) -> None:
    """Try a release that does not start: it costs nothing, and is repaired."""
    if world.setup.alone:
        tried = (
            "reload"  # after a restart nobody would serve, and a start that hangs takes TimeoutStartSec=
        )
    running(world)
    world.install(BROKEN[how])
    expect(world.systemctl(tried, "app.service", check=False), False, f"{tried} into a broken release")
    repair(world, tried, then)


@event(3, after=(0.1, 0.7))
def dies_young(world: World, after: float) -> None:
    """Try a release that dies in its probation: it costs what its workers had in flight.

    Whoever replaces a worker meanwhile runs that release, too.
    """
    running(world)
    with world.excused("a release dies in its probation", most=CLIENTS * (world.workers + 2)):
        world.install("import threading", f"threading.Timer({after}, os._exit, [7]).start()")
        expect(world.systemctl("reload", "app.service", check=False), False, "reload into what dies")
        repair(world, "reload", "reload")


def repair(world: World, tried: str, then: str) -> None:
    """Deploy a good release after a broken one, whose restart systemd may be trying again and again."""
    world.install()
    if tried == "restart":
        restart_now(world, "restart, repaired")
    elif then == "restart":
        restart(world)
    else:
        reload(world)


# What kills.


@event(8, which=(0.0, 1.0), stopped=[True, True, False])
def kill_worker(world: World, which: float, stopped: bool) -> None:
    """Kill a worker: it costs what it had in flight, known by its connections if it is stopped before."""
    victim = pick(world, which)
    ports = None
    if stopped:
        world.inside.stop(victim)
        ports = world.inside.ports(victim)
    with world.excused("SIGKILL of a worker", ports=ports, most=CLIENTS):
        world.inside.signal(victim, signal.SIGKILL)
        world.inside.await_state(victim, ("",))


def pick(world: World, which: float) -> int:
    """Return the PID on the host of one of the workers, or of the process that forks them."""
    found: list[int] = []

    def there() -> bool:
        found[:] = world.worker_pids()
        return bool(found)

    world.wait("a worker", there)
    return found[int(which * (len(found) - 1) + 0.5)]


@event(6)
def kill_supervisor(world: World) -> None:
    """Kill the main process: it costs what it serves by itself, and nothing where workers serve."""
    world.install()
    if world.setup.alone:
        kill_worker(world, 0, stopped=True)
    else:
        _, pid = world.main()
        world.inside.stop(pid)
        world.inside.signal(pid, signal.SIGKILL)
        world.inside.await_state(pid, ("",))
    world.restarted()


@event(4, which=(0.0, 1.0), seconds=(0.1, 2.5))
def freeze_worker(world: World, which: float, seconds: float) -> None:
    """Stop a worker for a time that its watchdog allows."""
    victim = pick(world, which)
    world.inside.stop(victim)
    time.sleep(seconds)
    world.inside.signal(victim, signal.SIGCONT)


@event(1, which=(0.0, 1.0))
def hang_worker(world: World, which: float) -> None:
    """Stop a worker until its watchdog has killed it: it costs what it holds."""
    victim = pick(world, which)
    world.inside.stop(victim)
    with world.excused("a worker hangs", ports=world.inside.ports(victim), most=CLIENTS):
        world.wait("the watchdog has killed a worker", lambda: not world.inside.state(victim))


@event(3, seconds=(0.1, 2.5))
def freeze_supervisor(world: World, seconds: float) -> None:
    """Stop the main process for a time that systemd's watchdog allows."""
    _, pid = world.main()
    world.inside.stop(pid)
    time.sleep(seconds)
    world.inside.signal(pid, signal.SIGCONT)


@event(1)
def hang_supervisor(world: World) -> None:
    """Stop the main process until systemd's watchdog has ended it: it costs what a kill does."""
    world.install()
    if world.setup.alone:
        hang_worker(world, 0)
    else:
        _, pid = world.main()
        world.inside.stop(pid)
        world.wait("systemd has ended the main process", lambda: not world.inside.state(pid))
    world.restarted()
