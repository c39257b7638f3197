"""The sandbox of the shipped units: what a compromised app can still do, as shipped and hardened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import configure, get, install, main_pid, reload

LOADS = ("one-shot:4@30", "persistent:4@20", "pause:2@2,pause=0.2", "slow:1@0.4,seconds=1")
DROP_IN = "/etc/systemd/system/app.service.d/hardened.conf"
EXPOSURE = {"as shipped": 1.5, "hardened": 0.5}
SANDBOXES = list(EXPOSURE)

ATTEMPTS = """
import ctypes, ctypes.util, json, mmap, resource, socket, subprocess, sys, tempfile

IO_URING_SETUP, PROCESS_VM_READV, ADD_KEY, PTRACE, UNSHARE = 425, 310, 248, 101, 272  # of x86-64
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.connect(address)

def run_own_program():
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as program:
        program.write("#!/bin/sh\\n")
    os.chmod(program.name, 0o700)
    subprocess.run([program.name], check=True)

def load_own_library():
    with tempfile.TemporaryFile() as library:
        library.write(bytes(mmap.PAGESIZE))
        library.flush()
        mmap.mmap(library.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)

def share_memory():
    os.stat("/dev/shm/of-another-service")

def dump_core():
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise OSError(1, "no core files")

TRIES = {
    "connect": lambda: connect(socket.AF_INET, ("127.0.0.1", 8000)),
    "D-Bus": lambda: connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"),
    "run": run_own_program,
    "load": load_own_library,
    "memory of others": share_memory,
    "io_uring": lambda: call(IO_URING_SETUP, 1, (ctypes.c_char * 120)()),
    "keyring": lambda: call(ADD_KEY, b"user", b"sockact", b"x", 1, -2),
    "read a process": lambda: call(PROCESS_VM_READV, os.getpid(), None, 0, None, 0, 0),
    "core": dump_core,
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "ptrace": lambda: call(PTRACE, 0, 0, 0, 0),
    "namespace": lambda: call(UNSHARE, 0x10000000),
    "write /etc": lambda: open("/etc/x", "w"),
    "read keys": lambda: open("/etc/shadow"),
}

def tried(attempt):
    try:
        attempt()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return ""

served = app
async def app(scope, receive, send):
    if scope.get("path") != "/attempts":
        return await served(scope, receive, send)
    body = json.dumps({name: tried(attempt) for name, attempt in TRIES.items()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

ALWAYS_REFUSED = {"raw socket", "ptrace", "namespace", "write /etc", "read keys"}
SOMETIMES_REFUSED = {"io_uring", "keyring"}
"""Attempts that the kernel or the machine's container may refuse, whatever the unit says."""


@pytest.fixture(params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest, app: Machine) -> Iterator[str]:
    """Confine the service as shipped, or more."""
    if request.param == "hardened":
        app.write(DROP_IN, (CHECKOUT / "units/app-hardened.conf").read_text())
    app.run("systemctl", "daemon-reload")
    app.run("sh", "-c", "umask 0; echo secret >/dev/shm/of-another-service")
    yield request.param
    app.run("rm", "-f", "/dev/shm/of-another-service")


def test_systemd_and_sockact_have_nothing_to_say_against_it(app: Machine, sandbox: str) -> None:
    verified = app.run("systemd-analyze", "verify", "--man=no", "app.service", check=False)
    checked = app.run("/opt/app/venv/bin/sockact", "check", "app.service", check=False)
    analyzed = app.run("systemd-analyze", "security", "--no-pager", "app.service").stdout

    assert not re.search(r"\bapp[@.]", verified.stderr)
    assert checked.stdout == "app.service app.socket: nothing found\n"
    (exposure,) = re.findall(r"Overall exposure level for app\.service: ([\d.]+)", analyzed)
    assert float(exposure) < EXPOSURE[sandbox], analyzed


def writable(machine: Machine) -> set[str]:
    """Return the folders that a process of the service can write, but for those in others."""
    pid = main_pid(machine)
    status = machine.read(f"/proc/{pid}/status")
    uid, gid = (re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0] for name in ("Uid", "Gid"))
    find = "find / ( -path /proc -o -path /sys ) -prune -o -type d -writable -prune -print"
    become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    return set(
        machine.run("nsenter", "-t", str(pid), "-m", *become, *find.split(), check=False).stdout.split()
    )


def test_a_compromised_app_can_do_no_more_than_it_needs(app: Machine, sandbox: str) -> None:
    install(app, 1, ATTEMPTS)
    app.run("systemctl", "start", "app.socket")

    found: dict[str, str] = get(app, "/attempts")

    possible = {name for name, error in found.items() if not error}
    refused = ALWAYS_REFUSED if sandbox == "as shipped" else set(found)
    assert possible - SOMETIMES_REFUSED == found.keys() - refused - SOMETIMES_REFUSED, found
    assert not possible & refused, found
    own = {"/run/private/app", "/var/cache/private/app"}
    assert writable(app) == own | {"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"}


def test_nothing_is_lost_in_the_hardened_sandbox(app: Machine) -> None:
    app.write(DROP_IN, (CHECKOUT / "units/app-hardened.conf").read_text())
    install(app, 1)
    configure(app, "--workers=2", "--probation=0.1s", "--keep-alive=1h")
    app.run("systemctl", "start", "app.socket", "app.service")

    with load(app, *LOADS) as clients:
        for version, verb in enumerate(("reload", "restart", "reload"), 2):
            install(app, version)
            app.run("systemctl", verb, "app.service")
        report: Any = clients.report()

    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == set("1234")
    assert reload(app).returncode == 0
