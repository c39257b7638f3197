"""`sockact activate` does for a program what systemd does: sockets, environment, descriptor store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.machine.machine import Machine

# The first of two processes stores descriptors; the second, which gets them, tells what it has got.
PROGRAM = """
import json, os, signal, socket, sys
from systemd import daemon
path = sys.argv[1]
names = daemon.listen_fds_with_names(False)
if "kept" in names.values():
    known = ("LISTEN_FDS", "LISTEN_FDNAMES", "FDSTORE")
    seen = {
        "names": [names[fd] for fd in sorted(names)],
        "addresses": [str(socket.socket(fileno=os.dup(fd)).getsockname()) for fd in sorted(names)[:3]],
        "blocking": [os.get_blocking(fd) for fd in sorted(names)],
        "environ": {name: os.environ.get(name) for name in known},
        "mine": os.environ["LISTEN_PID"] == str(os.getpid()),
        "input": os.readlink("/proc/self/fd/0"),
        "leads": os.getpgrp() == os.getpid(),
    }
    with open(path + ".new", "w") as file:
        json.dump(seen, file)
    os.rename(path + ".new", path)
else:
    for fd in names:
        os.set_blocking(fd, False)
    def store(*fds, more="FDNAME=kept"):
        daemon.notify("FDSTORE=1\\n" + more, fds=list(fds))
    here, there = socket.socketpair()
    polled, gone = socket.socketpair()
    file = os.memfd_create("a")
    store(os.memfd_create("b"), os.memfd_create("c"))
    store(os.memfd_create("d"), more="FDNAME=with:colon")
    store(os.memfd_create("e"), more="X=1")
    store(here.fileno(), here.fileno(), more="FDNAME=pair\\nFDPOLL=0")
    store(here.fileno(), more="FDNAME=again\\nFDPOLL=0")
    store(polled.fileno(), more="FDNAME=polled")
    store(os.memfd_create("f"), more="FDNAME=removed")
    daemon.notify("FDSTOREREMOVE=1\\nFDNAME=removed")
    store(*(os.memfd_create(str(number)) for number in range(9)), more="FDNAME=many")
daemon.notify("READY=1")
open(path + ".ready", "w").close()
signal.pause()
"""

SOCKET = """
[Socket]
ListenStream=127.0.0.1:8021
ListenDatagram=127.0.0.1:8021
ListenStream=/run/seen.sock
FileDescriptorName=web
"""
SERVICE = """
[Service]
Type=notify
ExecStart=/opt/app/venv/bin/python /opt/app/seen.py /run/by-systemd
FileDescriptorStoreMax=8
"""
BY_SYSTEMD = (
    "systemctl daemon-reload; systemctl start seen.socket seen.service; systemctl restart seen.service"
)

BY_SOCKACT = """
wait_for() { until [ -e "$1" ]; do sleep 0.02; done; }
sockets='-l web=127.0.0.1:8021 -l web=udp:127.0.0.1:8021 -l web=/run/seen.sock'
/opt/app/venv/bin/sockact activate $sockets --store 8 -- \
    /opt/app/venv/bin/python /opt/app/seen.py /run/by-sockact </dev/null 2>/run/activate.log &
wait_for /run/by-sockact.ready
kill -USR1 $!
wait_for /run/by-sockact
kill $!
wait $! || :
"""


@pytest.fixture
def seen(app: Machine) -> Iterator[Machine]:
    """Give a machine with the program, and a pair of units for it."""
    app.write("/opt/app/seen.py", PROGRAM)
    app.write("/etc/systemd/system/seen.socket", SOCKET)
    app.write("/etc/systemd/system/seen.service", SERVICE)
    yield app
    app.run("systemctl", "stop", "seen.socket", "seen.service", check=False)
    app.run(
        "sh", "-c", "rm -f /etc/systemd/system/seen.* /run/by-* /run/activate.log; systemctl daemon-reload"
    )


def told(machine: Machine, path: str) -> Any:
    return json.loads(machine.run("cat", path).stdout)


def test_a_program_cannot_tell_it_from_systemd(seen: Machine) -> None:
    seen.run("sh", "-euc", BY_SYSTEMD)
    systemd = told(seen, "/run/by-systemd")
    seen.run("systemctl", "stop", "seen.socket", "seen.service")

    seen.run("sh", "-euc", BY_SOCKACT)

    sockact = told(seen, "/run/by-sockact")
    if systemd["environ"]["FDSTORE"] is None:  # before systemd 254
        assert sockact["environ"].pop("FDSTORE") == "8"
        del systemd["environ"]["FDSTORE"]
    assert systemd["mine"]
    assert sockact == {**systemd, "leads": True}
