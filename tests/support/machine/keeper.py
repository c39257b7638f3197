"""The process which owns a machine: its mounts, its control group, and systemd-nspawn.

`machine.boot` starts it with a mount namespace of its own, so that the mounts end with the last process in
it, in whichever way that one ends. Standard input is a pipe whose other end the tests hold: when it closes,
because they are done or because they were killed, the machine is stopped, and nothing stays behind.

A machine is an overlay: whatever is written in it goes to a tmpfs, the root below stays as it is. It starts
with an empty /etc/systemd/system, so that nothing which the root had enabled runs in it.
"""

import argparse
import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

HIERARCHY = Path("/sys/fs/cgroup")
PREFIX = "sockact-"
HALT_TIMEOUT = 10.0


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


@contextlib.contextmanager
def control_group(name: str) -> Iterator[Path]:
    """A control group for one machine, gone at the end with all that ran in it.

    Without it all machines share one tree, and units of equal names collide.
    """
    if not (HIERARCHY / "cgroup.procs").exists():
        # A host with the old hierarchies, or a chroot with none. Only we and nspawn see this mount.
        mount("-t", "cgroup2", "cgroup2", HIERARCHY)
    remove_stale()
    group = HIERARCHY / f"{PREFIX}{os.getpid()}-{name}"
    group.mkdir()
    try:
        yield group
    finally:
        remove(group)


def remove_stale() -> None:
    """Remove what is left of machines whose keeper was killed."""
    for group in HIERARCHY.glob(f"{PREFIX}*"):
        keeper = group.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", keeper).exists():
            remove(group)


def remove(group: Path) -> None:
    """Kill what is in a control group and in the groups below it, then remove them all."""
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")
        wait_until_empty(group)
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(folder)


def wait_until_empty(group: Path) -> None:
    """Wait for the last process of a control group; the kernel announces it by POLLPRI.

    Source: the kernel's cgroup-v2.rst, cgroup.events.
    """
    with (group / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            if not poll.poll(HALT_TIMEOUT * 1000):
                raise TimeoutError(f"{group} still has processes {HALT_TIMEOUT:g} s after cgroup.kill")
            events.seek(0)


def overlay(lower: Path, stage: Path) -> Path:
    """Mount a copy of the root which forgets what is written to it; `stage` is an empty folder."""
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", stage)
    for folder in ("upper", "work", "root"):
        (stage / folder).mkdir()
    options = f"lowerdir={lower},upperdir={stage}/upper,workdir={stage}/work"
    mount("-t", "overlay", "-o", options, "overlay", stage / "root")
    return stage / "root"


def make_bare(root: Path, name: str) -> None:
    """Take from a root what made it that one machine: identity, disks, units, and our application."""
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/fstab").write_text("")
    for folder in (root / "etc/systemd/system", root / "opt/app", *root.glob("etc/rc?.d")):
        shutil.rmtree(folder, ignore_errors=True)
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
    # These would read from and write to the console, which is our log.
    for unit in ("getty.target", "console-getty.service"):
        (units / unit).symlink_to("/dev/null")


def nspawn(root: Path, name: str, group: Path, binds: Sequence[Path]) -> list[str]:
    """Return the command which boots `root` inside the control group."""
    join = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)]
    die_with_keeper = ["setpriv", "--pdeathsig", "KILL"]
    boot = [
        *("systemd-nspawn", f"--directory={root}", f"--machine={name}", "--boot", "--quiet"),
        *("--register=no", "--keep-unit", "--kill-signal=SIGRTMIN+3", "--notify-ready=yes"),
        *("--private-network", "--console=pipe", "--settings=no"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        # Read-only: systemd-tmpfiles empties /tmp at boot, and the checkout may well be there.
        *(f"--bind-ro={path}" for path in binds),
    ]
    return [*join, *die_with_keeper, *boot]


def keep(command: Sequence[str], group: Path) -> int:
    """Run nspawn until it ends, or until standard input does; return its exit status."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        ended = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
        poll.poll()
        os.close(ended)
        return stop(process, group)


def stop(process: subprocess.Popen[bytes], group: Path) -> int:
    """Kill all that runs in the machine; nspawn ends by itself then, and removes what it made in /tmp.

    Not halted: that takes longer, keeps nothing that is wanted, and begins with SIGSTOP to all processes.
    The nsenter of a running command then stops itself too, does not reap its child, and PID 1 cannot end.
    """
    try:
        (group / "payload/cgroup.kill").write_text("1")
    except OSError:  # not there yet, or no longer
        process.terminate()
    try:
        return process.wait(HALT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def announce_end(status: int) -> None:
    """Say on the machine's notify socket that nspawn ended: whoever waits for the boot need not wait on."""
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.suppress(OSError):
        manager.sendto(f"EXIT_STATUS={status}".encode(), socket.MSG_DONTWAIT, address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="what the machine is called, inside too")
    parser.add_argument("root", type=Path, help="the root below the overlay")
    parser.add_argument("stage", type=Path, help="an empty folder, for mounts which only this process sees")
    parser.add_argument("binds", type=Path, nargs="*", help="folders which it shall see, read-only")
    arguments = parser.parse_args()
    status = 1
    try:
        root = overlay(arguments.root, arguments.stage)
        make_bare(root, arguments.name)
        with control_group(arguments.name) as group:
            status = keep(nspawn(root, arguments.name, group, arguments.binds), group)
    finally:
        announce_end(status)


if __name__ == "__main__":
    main()
