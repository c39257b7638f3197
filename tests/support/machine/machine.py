"""Throw-away machines with systemd as PID 1: `with boot(root_for("trixie"), "name") as machine`.

    machine.py [--suite bookworm|trixie|forky|host] -- COMMAND...      boots one, and runs a command in it

A machine is a container of systemd-nspawn: it has processes, units and a network of its own (a loopback
device, nothing else), over a root which it cannot change. It boots in a second. `keeper` owns it, and takes
it down when this process ends.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.machine.roots import CHECKOUT, NAMESPACE, SUITES, RootError, cache, prepare, root_for

KEEPER = Path(__file__).with_name("keeper.py")
BOOT_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
RUN_TIMEOUT = 60.0
# The kernel gives no user namespace (PrivateUsers=yes) to a process in a chroot, nor to a machine booted in
# one. So a chroot's root becomes that of the keeper's mount namespace: nsenter goes to the root which this
# has now, keeps ours as working folder, and that is moved over it. Outside a chroot both are the same.
LEAVE_CHROOT = (
    *("nsenter", "--mount=/proc/self/ns/mnt", "--wd=/", "--", "sh", "-euc"),
    '[ . -ef / ] || { mount --rbind . .; cd "$PWD"; mount --move . /; }; exec chroot . "$@"',
    "sh",
)
# All that a command inside knows of its surroundings, as for one who has just logged in.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class MachineError(Exception):
    """A machine did not boot, or a command in it failed; the message holds what was written."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine; `leader` is its PID 1 as seen from outside."""

    name: str
    leader: int

    def inside(self, *argv: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the command which runs `argv` inside, in the folder of the checkout."""
        # Root and working folder by name (-r -w): namespaces alone do not bring one out of a chroot.
        enter = ["nsenter", "-t", str(self.leader), "-a", "-r", "-w", "--"]
        variables = [f"{name}={value}" for name, value in (ENVIRONMENT | dict(env or {})).items()]
        # nsenter does not pass on its own end to the process which it waits for.
        die_with_nsenter = ["setpriv", "--pdeathsig", "KILL"]
        return [*enter, *die_with_nsenter, "env", "-i", f"--chdir={CHECKOUT}", *variables, *argv]

    def network(self, *argv: str) -> list[str]:
        """Return the command which runs a program of the host in the machine's network."""
        return ["nsenter", "-t", str(self.leader), "-n", "--", *argv]

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = RUN_TIMEOUT,
        input: str | None = None,  # noqa: A002 - as subprocess.run has it
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return what it wrote.

        Raises:
            MachineError: it failed, and `check` is set.
            subprocess.TimeoutExpired: it took longer than `timeout`; it has been killed.
        """
        command = self.inside(*argv, env=env)
        done = subprocess.run(
            command, input=input or "", capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise MachineError(f"{' '.join(argv)} exited with {done.returncode} in {self.name}:\n{said}")
        return done

    def popen(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command inside; its output, of both kinds, is `stdout`. Killing it kills the command."""
        return subprocess.Popen(
            self.inside(*argv, env=env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit by name; an unknown one is absent, an empty one is ''."""
        shown = self.run("systemctl", "show", f"--property={','.join(properties)}", "--", unit).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, *units: str, since: float = 0.0) -> str:
        """Return what the units, and systemd about them, have logged since a time.time()."""
        chosen = [f"--unit={unit}" for unit in units]
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--output=short-precise", f"--since=@{since:.6f}", *chosen).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, with the folders it needs."""
        self.run("install", "-D", f"--mode={mode:o}", "/dev/stdin", path, input=text)

    def read(self, path: str) -> str:
        return self.run("cat", "--", path).stdout

    def systemd_version(self) -> int:
        """Return the major version: 252."""
        return int(self.run("systemctl", "--version").stdout.split()[1])


def obstacle() -> str | None:
    """Say why this host cannot boot machines; None if it can."""
    if os.geteuid() != 0:
        return "machines need root"
    needed = ("systemd-nspawn", "mmdebstrap", "nsenter", "setpriv")
    missing = [name for name in needed if not shutil.which(name)]
    return f"not installed: {' '.join(missing)} (units/provision container)" if missing else None


@contextlib.contextmanager
def boot(root: Path, name: str) -> Iterator[Machine]:
    """Boot a machine over `root`, and stop it at the end of the block; `name` is also its host name.

    Raises:
        MachineError: it did not come up; the message holds its console.
    """
    with (
        notify_socket(name) as (manager, address),
        tempfile.TemporaryFile("w+") as console,
        keeper(root, name, address, console),
    ):
        try:
            machine = Machine(name, wait_booted(manager))
            set_up_network(machine)
            check_booted(machine)
            # Closed, as nspawn would wait for ever to tell us more once ten messages lie unread.
            manager.close()
        except (MachineError, OSError) as error:
            console.seek(0)
            raise MachineError(f"{name} did not boot: {error}\n{console.read()[-4000:]}") from error
        yield machine


@contextlib.contextmanager
def notify_socket(name: str) -> Iterator[tuple[socket.socket, str]]:
    """Bind the socket on which nspawn says who the leader is, and that it has booted: sd_notify(3)."""
    # Abstract: the name ends with the process. It belongs to the network namespace, and nspawn is in ours.
    address = f"sockact-{os.getpid()}-{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address}")
        yield manager, f"@{address}"


@contextlib.contextmanager
def keeper(root: Path, name: str, address: str, console: IO[str]) -> Iterator[None]:
    """Run the process which owns the machine; it stops that when we close its standard input, or die."""
    stage = cache() / "stage"
    stage.mkdir(exist_ok=True)
    command = [
        *NAMESPACE,
        *LEAVE_CHROOT,
        *(sys.executable, str(KEEPER), name, str(root), str(stage), str(CHECKOUT)),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=console,
        stderr=subprocess.STDOUT,
        env=os.environ | {"NOTIFY_SOCKET": address},
        start_new_session=True,  # Ctrl-C is for us: the keeper must live to clean up.
    )
    with process:
        try:
            yield
        finally:
            try:
                process.communicate(timeout=STOP_TIMEOUT)
            finally:
                process.kill()


def wait_booted(manager: socket.socket) -> int:
    """Wait until systemd inside has done all that its default target asks for; return the leader's PID."""
    deadline = time.monotonic() + BOOT_TIMEOUT
    leader = None
    while True:
        manager.settimeout(max(deadline - time.monotonic(), 0.001))
        said = dict(line.partition("=")[::2] for line in manager.recv(4096).decode().splitlines())
        leader = said.get("X_NSPAWN_LEADER_PID", leader)
        if "EXIT_STATUS" in said:
            raise MachineError(f"systemd-nspawn exited with {said['EXIT_STATUS']}")
        if said.get("READY") == "1" and leader:
            return int(leader)


def set_up_network(machine: Machine) -> None:
    machine.run("ip", "link", "set", "lo", "up")
    # The kernel's default, and a namespace's own: older systemd leaves what it finds.
    subprocess.run(machine.network("sysctl", "-qw", "net.core.somaxconn=4096"), check=True)


def check_booted(machine: Machine) -> None:
    """Degraded counts as booted: some unit of a host may fail in a container, and is not what we test."""
    state = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
    if state not in ("running", "degraded"):
        raise MachineError(f"systemd is {state}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Boot a throw-away machine, and run a command in it.")
    parser.add_argument("--suite", default="host", choices=[*SUITES, "host"])
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args(argv)
    if reason := obstacle():
        parser.exit(69, f"machine: {reason}\n")
    # Turned into an exception, so that the machine is stopped in its turn.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    root = root_for(arguments.suite)
    prepare(root)
    with boot(root, f"sockact-{os.getpid()}") as machine:
        return subprocess.run(machine.inside(*arguments.command), check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (MachineError, RootError) as error:
        sys.exit(f"machine: {error}")
