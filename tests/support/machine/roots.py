"""The origin of a machine's root: this host, if it is that Debian release, or mmdebstrap.

All that needs a network happens here, before the boot: a machine has none.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

# What is mounted in it is gone with its last process, and cannot be in the way of removing a folder.
NAMESPACE = ("unshare", "--mount", "--propagation", "private")
CHECKOUT = Path(__file__).resolve().parents[3]
NEWEST = "forky"
"""Debian testing, which has the newest systemd: 262 in November 2026. A root stays as it was made,
until its folder in the cache is removed."""

SUITES = ("bookworm", "trixie", NEWEST)
HOST = Path("/")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What `units/provision packages container` would install, but at once with the root.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "procps", "ca-certificates"),
    *("python3", "python3-venv", "python3-dev", "gcc", "pkg-config", "libsystemd-dev"),
)
MIRROR = "http://deb.debian.org/debian"
# Runs a command in a root which sees the checkout, our network and our certificates.
ENTER = """
root=$1 checkout=$2; shift 2
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
mkdir -p "$root$checkout"
mount --rbind "$checkout" "$root$checkout"
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e "$file" ] || { [ -e "$root$file" ] || : >"$root$file"; mount --bind "$file" "$root$file"; }
done
exec chroot "$root" "$@"
"""


class RootError(Exception):
    """A root could not be made or prepared; the message holds what was written."""


def cache() -> Path:
    """Return the folder for what outlives a run; outside the checkout, which is bound into the machines."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home, "sockact").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock, so that one process at a time makes what `name` stands for; its death unlocks too."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def root_for(suite: str) -> Path:
    """Return a root of a Debian release, made at the first call; `host` is this machine, whatever it is."""
    if suite in ("host", platform.freedesktop_os_release().get("VERSION_CODENAME")):
        return HOST
    root = cache() / suite
    with locked(suite):
        if not root.exists():
            make(suite, root)
    return root


def make(suite: str, root: Path) -> None:
    """Make a root; until it is finished it has another name, and an interrupted one is made anew."""
    unfinished = root.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    options = ["--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    # The lists of a testing release expire after a week, and a mirror may be older: apt.conf(5).
    options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    made = subprocess.run(
        [*NAMESPACE, "mmdebstrap", *options, suite, str(unfinished), MIRROR],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RootError(f"mmdebstrap {suite} exited with {made.returncode}:\n{made.stdout[-2000:]}")
    unfinished.rename(root)


def prepare(root: Path, *steps: str) -> None:
    """Build, with this root's Python, the wheels from which a machine of it installs the application.

    `steps` are what else `units/provision` is to do there.
    """
    run_in(root, str(CHECKOUT / "units/provision"), "packages", *steps, "wheels")


def run_in(root: Path, *command: str) -> str:
    """Run a command in a root, with our network, and return what it wrote.

    Raises:
        RootError: it failed.
    """
    if root != HOST:
        command = (*NAMESPACE, "sh", "-euc", ENTER, "sh", str(root), str(CHECKOUT), *command)
    # One apt at a time: a test may install what it needs meanwhile, and other machines have the same root.
    with locked("packages" if root == HOST else f"packages-{root.name}"):
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        said = done.stdout[-4000:]
        raise RootError(f"{' '.join(command[-4:])} in {root} exited with {done.returncode}:\n{said}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return what provisioning may know of us: how to reach a network, nothing about our Python."""
    network = [name for name in os.environ if name.startswith("PIP_") or name.endswith("_proxy")]
    passed = {name: os.environ[name] for name in network}
    if CERTIFICATES.exists():
        passed |= {"PIP_CERT": str(CERTIFICATES), "SSL_CERT_FILE": str(CERTIFICATES)}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return passed | {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8"}
