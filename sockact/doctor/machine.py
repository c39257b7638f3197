"""Troubles of the machine: its systemd, its kernel, its memory and filesystems."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.doctor.facts import Facts
from sockact.doctor.remark import trouble

OLDEST = 252
"""The oldest systemd with which sockact is tested."""
FULL = 0.02
"""The part of a filesystem, below which it counts as full."""

ABILITIES = (
    (254, "RestartSteps=5 RestartMaxDelaySec=60s", "tries a broken release again less and less often"),
    (257, "RestartMode=debug", "logs more in the start after a failure"),
    (260, "RefreshOnReload=credentials", "lets a reload see new credentials"),
)
"""The options that a newer systemd has: its version, the line, and the use of it."""


@trouble
def systemd_missing(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd is not PID 1."""
    if not facts.booted:
        yield (
            "systemd does not run this machine: units do nothing here",
            "see docs/running.md for containers",
        )


@trouble
def systemd_silent(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemctl does not tell its version."""
    if facts.booted and facts.version is None:
        yield "systemctl does not answer", "is it in PATH?"


@trouble
def systemd_old(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd is older than what is tested."""
    if facts.version is not None and facts.version < OLDEST:
        yield (
            f"systemd {facts.version} is older than {OLDEST}, with which sockact is tested",
            "upgrade the system",
        )


@trouble
def queue_cut(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each socket unit whose queue the kernel cuts."""
    most = facts.sysctls.get("net/core/somaxconn", "")
    for name in facts.sockets:
        backlog = facts.number("Backlog", name)
        # The default is the largest number, which is always cut; a kernel's default of 4096 is meant then.
        wanted = min(backlog or 4096, 4096)
        if most.isdecimal() and int(most) < wanted:
            text = f"net.core.somaxconn={most} cuts the queue of {name}, where clients wait in a restart"
            yield text, f"sysctl -w net.core.somaxconn={wanted}; systemctl restart {name}"


@trouble
def full_queue_resets(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the kernel resets connections that find the queue full."""
    if facts.sysctls.get("net/ipv4/tcp_abort_on_overflow") == "1":
        text = "net.ipv4.tcp_abort_on_overflow=1 resets clients that find the queue full"
        yield text, "sysctl -w net.ipv4.tcp_abort_on_overflow=0"


@trouble
def files_of_machine(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the machine is about to run out of open files."""
    words = facts.sysctls.get("fs/file-nr", "").split()
    if len(words) == 3 and all(map(str.isdecimal, words)) and int(words[0]) > 0.9 * int(words[2]):
        yield f"{words[0]} of {words[2]} files of the whole machine are open", "sysctl -w fs.file-max="


@trouble
def filesystem_full(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each filesystem without space."""
    for path, free in facts.free.items():
        if free < FULL:
            yield f"{path} is full: {free:.1%} is free, of its space or its inodes", f"du -xsh {path}/*"


@trouble
def memory_low(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the machine has no memory for a second generation of workers."""
    needed = sum(each["rss"] or 0 for each in facts.workers)
    if 0 < facts.available < needed:
        text = f"a reload needs {needed >> 20} MiB again, and {facts.available >> 20} MiB are available"
        yield text, "fewer workers, --surge=1, or more memory"


@trouble
def bus_missing(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if a service that asks the bus cannot do so."""
    unit = facts.unit
    asks = unit and unit.is_sockact and not unit.every("Service.ExecStop")
    if not facts.bus and asks:
        text = (
            f"there is no system bus, and {facts.name} has no ExecStop=: it takes each restart for a stop"
        )
        yield text, "the ExecStop= of units/app.service, or the package dbus"
