"""The events around the service: shortages, hostile neighbours, a jumping clock, and two things at once."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from subprocess import DEVNULL, Popen

from tests.chaos import events, signalled
from tests.chaos.register import event, expect, running
from tests.chaos.world import CLIENTS, CLOCK, World
from tests.support.machine.load import MANY_FILES
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import client
from tests.support.machine.soft_reboot import soft_reboot_now

HERE = CHECKOUT / "tests/chaos"

# Shortages.


@contextmanager
def crowd(world: World, number: int, seconds: float) -> Iterator[None]:
    """Run slow clients beside the load, for as long as the body takes at least."""
    slow = (sys.executable, str(HERE / "crowd.py"), "127.0.0.1", "8000", str(number), str(seconds))
    with Popen(world.machine.network(*MANY_FILES, *slow), stdout=DEVNULL) as process:
        try:
            yield
            process.wait(timeout=seconds + 60)
        finally:
            process.kill()


@event(2, number=[100, 500], seconds=(1.0, 4.0), then=["nothing", "reload", "restart"])
def slow_clients(world: World, number: int, seconds: float, then: str) -> None:
    """Let slow clients come, and perhaps deploy meanwhile: they cost others nothing."""
    with crowd(world, number, seconds):
        if then == "reload":
            events.reload(world)
        elif then == "restart":
            events.restart(world)


@event(2, limit=[96, 160], seconds=(1.0, 3.0))
def few_descriptors(world: World, limit: int, seconds: float) -> None:
    """Serve with fewer descriptors than there are clients: those wait, and no one is lost."""
    edited(world, f"LimitNOFILE={limit}")
    with crowd(world, 300, seconds):
        pass
    edited(world)


def edited(world: World, *lines: str) -> None:
    """Restart with lines in the unit, and with the newest code."""
    running(world)
    world.install()
    world.configure(replace(world.setup, lines=lines))
    expect(world.systemctl("restart", "app.service", check=False), True, f"restart with {lines}")
    world.restarted()


HOARDS = """
inner = app
async def app(scope, receive, send):
    if scope.get("path") == "/hoard":
        hoard = [bytes([1]) * 2**20 for _ in range(2**14)]
    await inner(scope, receive, send)
"""
MEMORY = 2**20 * 400


@event(2)
def out_of_memory(world: World) -> None:
    """Let the kernel kill a worker that takes too much memory: it costs what that had in flight."""
    running(world)
    version = world.install(HOARDS)
    expect(world.systemctl("reload", "app.service", check=False), True, "reload into one that can hoard")
    world.version = version
    with scarce(world):
        before = set(world.inside.processes().values())
        with world.excused("a worker is killed for want of memory", most=CLIENTS):
            client(world.machine, "/hoard").communicate(timeout=120)
            world.wait("a process has died", lambda: not all(map(world.inside.state, before)))


@contextmanager
def scarce(world: World) -> Iterator[None]:
    """Leave the processes of the service little memory, by a group of the kernel's older kind.

    The machine's systemd knows nothing of it; that of a container often has no say over memory.
    """
    group = f"/run/memory/chaos-{world.machine.leader}"
    mount = "mkdir -p /run/memory; mount -t cgroup -o memory memory /run/memory"
    world.machine.run("sh", "-euc", f"mountpoint -q /run/memory || {{ {mount}; }}; mkdir {group}")
    try:
        move(world, group)
        world.machine.run("sh", "-c", f"echo {MEMORY} >{group}/memory.limit_in_bytes")
        yield
    finally:
        world.machine.run("sh", "-c", f"echo -1 >{group}/memory.limit_in_bytes")
        world.wait("the group is empty", lambda: left(world, group))


def move(world: World, group: str) -> None:
    for pid in world.inside.processes():
        world.machine.run("sh", "-c", f"echo {pid} >{group}/cgroup.procs", check=False)


def left(world: World, group: str) -> bool:
    """Move all processes out of a group; return whether it could be removed."""
    move(world, f"{group}/..")
    return world.machine.run("rmdir", group, check=False).returncode == 0


@event(2, then=["reload", "reload", "broken"], seconds=(0.0, 1.0))
def disk_full(world: World, then: str, seconds: float) -> None:
    """Fill /run, where the sockets of the service are: a reload still succeeds, or changes nothing."""
    running(world)
    world.machine.run("sh", "-c", FILL)
    try:
        time.sleep(seconds)
        version = world.install(*([events.BROKEN["syntax"]] if then == "broken" else ()))
        done = world.systemctl("reload", "app.service", check=False)
        if done.returncode == 0:
            world.version = version
        time.sleep(seconds)
    finally:
        world.machine.run("sh", "-c", EMPTY)
    events.reload(world)


FILL = """
used=$(df --output=used -k /run | tail -n 1)
mount -o remount,size=$((used + 64))k /run
dd if=/dev/zero of=/run/filled bs=4k 2>/dev/null
:
"""
EMPTY = "mount -o remount,size=50% /run; rm -f /run/filled"


# Neighbours.


@event(3, who=["root", "nobody"], what=["systemd", "service"], seconds=(0.5, 3.0))
def flood(world: World, who: str, what: str, seconds: float) -> None:
    """Flood the sockets of systemd or of the service; who may not reach one floods nothing."""
    patterns = {
        "systemd": ["/run/systemd/notify"],
        "service": ["/run/app/sockact.sock", "/run/app/*/*", "/run/private/app/*/*"],
    }
    user = () if who == "root" else ("setpriv", "--reuid=65534", "--clear-groups")
    command = (*user, "/usr/bin/python3", str(HERE / "flood.py"), str(seconds), *patterns[what])
    world.machine.run(*command, check=False, timeout=seconds + 90)


@event(3, how=["kill", "restart", "stop"], seconds=(0.1, 1.5))
def journald(world: World, how: str, seconds: float) -> None:
    """Take the journal away for a while."""
    units = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service")
    if how == "stop":
        world.systemctl("stop", *units, check=False)
        time.sleep(seconds)
        world.systemctl("start", *units, check=False)
    elif how == "restart":
        world.systemctl("restart", "systemd-journald.service", check=False)
    else:
        world.systemctl("kill", "--signal=KILL", "systemd-journald.service", check=False)


@event(3, ahead=[3600, -3600, 86400 * 400, -86400 * 400, 0])
def clock_jumps(world: World, ahead: int) -> None:
    """Let the wall clock of the service jump."""
    world.inside.overwrite(CLOCK, struct.pack("q", ahead))


@event(1.5, suites=frozenset({"trixie"}))
def soft_reboot(world: World) -> None:
    """End all of the machine but systemd itself and the service, and start that anew."""
    soft_reboot_now(world.machine)


# Two things at once.

COMMANDS = ("reload", "restart", "stop")
SECOND = [*COMMANDS, "kill_worker", "kill_supervisor", "freeze_supervisor", "hang_worker"]
SECOND += ["daemon_reload", "daemon_reexec", "burst", "quit_at_once"]
ANEW = frozenset({"restart", "stop", "kill_supervisor", "quit_at_once"})
"""What starts another main process, with as many workers as the unit says."""


@event(
    12,
    first=list(COMMANDS),
    after=(0.0, 2.0),
    second=SECOND,
    which=(0.0, 1.0),
    then=["reload", "restart"],
)
def both(world: World, first: str, after: float, second: str, which: float, then: str) -> None:
    """Begin one thing, and do another in the middle of it: either may fail; all is well after one more."""
    running(world)
    world.install()
    with cost_of_both(world, first, second):
        beginning = world.machine.popen("systemctl", first, "app.service")
        time.sleep(after)
        do_second(world, second, which)
        beginning.communicate(timeout=180)
    if {first, second} & ANEW:
        world.workers = world.setup.workers
    running(world)
    (events.reload if then == "reload" else events.restart)(world)


def cost_of_both(world: World, first: str, second: str) -> AbstractContextManager[None]:
    """Excuse what it costs that the second thing comes in the middle of the first."""
    if (first, second) == ("stop", "kill_supervisor"):
        return world.excused("SIGKILL of the supervisor in a stop", most=CLIENTS)
    if "stop" in (first, second) or (first, second) == ("reload", "restart"):  # as events.restart_now
        return world.excused("stop, or a restart in a reload", most=0)
    return nullcontext()


def do_second(world: World, second: str, which: float) -> None:
    """Do the second thing; a command may be overtaken by the first one, so that its end says nothing."""
    if second in COMMANDS:
        world.systemctl(second, "app.service", check=False)
    elif second == "kill_worker":
        events.kill_worker(world, which, stopped=True)
    elif second == "freeze_supervisor":
        events.freeze_supervisor(world, 2 * which)
    elif second == "hang_worker":
        events.hang_worker(world, which)
    else:
        getattr(signalled if hasattr(signalled, second) else events, second)(world)
