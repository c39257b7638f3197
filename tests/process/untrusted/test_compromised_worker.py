"""A worker that an attacker controls: what it says, sends and takes away costs nobody else anything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from sockact.protocols.notify import NotifySocket
from tests.support.commands import reload, status
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import LIMIT, resident, wait_until
from tests.support.processes import workers
from tests.support.service import Service, break_app

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

HOSTILE = """
import socket, subprocess, sys, threading

def voice(pid="self"):
    environ = open(f"/proc/{pid}/environ", "rb").read().split(b"\\0")
    path = next(line.partition(b"=")[2] for line in environ if line.startswith(b"NOTIFY_SOCKET="))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.connect(path)
    return sock

def say(text):
    with voice() as sock:
        sock.send(text.encode())

def child():
    text = "X_SOCKACT_HOOK=forged\\nSTOPPING=1\\nX_SOCKACT_RECYCLE=x"
    script = f"import socket\\n{inspect.getsource(voice)}\\nvoice({os.getpid()}).send({text.encode()})"
    subprocess.run([sys.executable, "-c", script], check=True)

def flood():
    with voice() as sock:
        for number in range(1, FLOOD + 1):
            unique = b"X_UNIQUE_%d=%s" % (number, b"x" * 2000)
            sock.send(b"X_SOCKACT_HOOK=failure %d\\nX_SOCKACT_OPTIONS=%d\\n%s" % (number, number, unique))

def take_sockets_away():
    for folder in Path(os.environ["RUNTIME_DIRECTORY"]).glob("sockact-*"):
        shutil.rmtree(folder)

import inspect, shutil
from pathlib import Path

FLOOD = 5000
DEEDS = {"/child": child, "/flood": flood, "/sockets": take_sockets_away}
DEEDS["/own"] = lambda: say("X_SOCKACT_HOOK=own")
served = app
async def app(scope, receive, send):
    if scope.get("path") in DEEDS:
        await asyncio.to_thread(DEEDS[scope["path"]])
    elif scope.get("path") == "/version":
        say("X_SOCKACT_VERSION=told")
    await served(scope, receive, send)
"""
FLOOD = 5000
SUPERVISED = ("--workers=1", "--probation=0.1s")


@pytest.fixture
def hostile(service: Service) -> Service:
    """Give a service whose worker does what an attacker would, when it is asked to."""
    install(service.directory)
    break_app(service, HOSTILE)
    service.start(*SUPERVISED)
    return service


def told(service: Service) -> str:
    """Return the status when the supervisor has heard all that was said before."""
    assert get(service.listener, "/version").status == 200
    found = wait_until(lambda: (seen := status(service))["workers"][0]["version"] == "told" and seen)
    return str(found["status"])


def test_a_child_of_the_app_cannot_speak_for_its_worker(hostile: Service) -> None:
    before = workers(hostile.manager.pid)

    assert get(hostile.listener, "/child").status == 200

    assert "forged" not in told(hostile)
    assert workers(hostile.manager.pid) == before
    assert get(hostile.listener, "/own").status == 200
    wait_until(lambda: "own" in status(hostile)["status"])  # so the worker itself would have been heard


def test_a_worker_that_says_thousands_of_things_costs_neither_memory_nor_the_managers_time(
    hostile: Service,
) -> None:
    pid = hostile.manager.pid
    get(hostile.listener, "/own")
    before = resident(pid)

    assert get(hostile.listener, "/flood").status == 200

    wait_until(lambda: f"failure {FLOOD}" in told(hostile))
    assert resident(pid) < before + 8 * 1024**2
    hostile.manager.catch_up()
    assert len(hostile.manager.said("STATUS")) < FLOOD / 50
    assert reload(hostile)[0] == 0


def test_a_worker_that_takes_the_sockets_of_the_service_away_keeps_it_neither_from_a_reload_nor_from_a_stop(
    hostile: Service,
) -> None:
    before = workers(hostile.manager.pid)

    assert get(hostile.listener, "/sockets").status == 200

    hostile.manager.signal(signal.SIGHUP)
    wait_until(lambda: (now := workers(hostile.manager.pid)) and not set(now) & set(before))
    assert get(hostile.listener).status == 200
    hostile.manager.signal(signal.SIGTERM)
    assert hostile.manager.wait_exit() == 0


# What the kernel vouches for.

CLAIM = """
import os, socket, struct, sys

path, pid = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    try:
        sock.connect(path)
        credentials = struct.pack("3i", pid, os.getuid(), os.getgid())
        sock.sendmsg([b"READY=1"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    except PermissionError:
        print("refused")
    else:
        print("sent")
"""


@needs_root
@pytest.mark.parametrize(("own", "said"), [(False, "refused"), (True, "sent")], ids=["another", "its own"])
def test_nobody_without_privileges_can_claim_the_pid_of_another_process(own: bool, said: str) -> None:
    """SCM_CREDENTIALS: unix(7). In an open folder here, in which the service's sockets are not."""
    folder = Path("/tmp", f"sockact-test-{os.getpid()}")
    folder.mkdir(mode=0o755)
    try:
        with NotifySocket(str(folder / "n")) as manager:
            (folder / "n").chmod(0o666)
            pid = "os.getpid()" if own else str(os.getpid())
            script = textwrap.dedent(CLAIM).replace("int(sys.argv[2])", pid)
            done = subprocess.run(
                ["/usr/bin/python3", "-c", script, str(folder / "n"), pid],
                user=65534,
                group=65534,
                extra_groups=[],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            )
            heard = manager.receive()
    finally:
        shutil.rmtree(folder)

    assert done.stdout.strip() == said
    assert (heard is not None) is own
    assert heard is None or heard.pid != os.getpid()
