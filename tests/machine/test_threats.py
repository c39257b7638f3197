"""Attacks on the service as it is shipped, from outside and from its worker: docs/threat-model.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.machine.machine import Machine
from tests.support.machine.service import ALONE, configure, get, install, main_pid, wait_until
from tests.support.machine.supervised import workers

STRANGER = r"""
import json, os, socket, subprocess, sys

main, worker, paths = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def connect(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            try:
                sock.connect(path)
            except OSError as error:
                last = error
            else:
                return
    raise last

def run(*words):
    subprocess.run(words, check=True, capture_output=True)

deeds = {f"connect to {path}": lambda path=path: connect(path) for path in paths}
for name, pid in (("main process", main), ("worker", worker)):
    deeds[f"signal the {name}"] = lambda pid=pid: os.kill(pid, 1)
    for file in ("environ", "mem", "maps"):
        path = f"/proc/{pid}/{file}"
        deeds[f"read {file} of the {name}"] = lambda path=path: open(path, "rb").read(1)
    deeds[f"list the descriptors of the {name}"] = lambda pid=pid: os.listdir(f"/proc/{pid}/fd")
deeds["reload"] = lambda: run("systemctl", "reload", "app.service")
deeds["reload by sockact"] = lambda: run("/opt/app/venv/bin/sockact", "reload", "app")
deeds["list the folder"] = lambda: os.listdir(os.path.dirname(paths[0]))
deeds["write to the runtime directory"] = lambda: open("/run/app/x", "w")
deeds["write to the cache"] = lambda: open("/var/cache/app/x", "w")
done = []
for name, deed in deeds.items():
    try:
        deed()
    except (OSError, subprocess.CalledProcessError):
        continue
    done.append(name)
print(json.dumps(done))
"""


def sockets(machine: Machine) -> list[str]:
    """Return the paths of the control socket and the notify sockets."""
    found = machine.run("find", "/run/private/app", "-type", "s").stdout.split()
    assert {path.rpartition("/")[2] for path in found} >= {"control", "n1"}
    return sorted(found)


def attack(machine: Machine, *become: str) -> list[str]:
    """Return what a user without privileges was able to do."""
    pids = (str(main_pid(machine)), str(min(workers(machine))))
    command = ("/usr/bin/python3", "-c", STRANGER, *pids, *sockets(machine))
    return list(json.loads(machine.run(*become, *command).stdout))


def test_another_user_can_reach_nothing_of_the_service(app: Machine) -> None:
    install(app, 1)
    app.run("systemctl", "start", "app.socket", "app.service")
    names = re.findall(r"@sockact\S*", app.read("/proc/net/unix"))

    assert names == []  # nothing abstract, which everybody could reach
    assert attack(app, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") == []
    assert get(app)["version"] == "1"
    assert len(attack(app)) > 10  # of which root can do most


WORKER = """
import socket

ALL = ("STATUS=forged", "MAINPID=1", "STOPPING=1", "RELOADING=1", "ERRNO=5", "WATCHDOG=trigger",
       "FDSTOREREMOVE=1\\nFDNAME=sockact.worker.1.1")
HARMLESS = ("MAINPID=1", "ERRNO=5")

def forge(texts):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("/run/systemd/notify")
        for text in texts:
            sock.send(text.encode())
        if texts is ALL:
            socket.send_fds(sock, [b"FDSTORE=1\\nFDNAME=sockact.worker.9.9"], [0])

def peek():
    main = os.getppid()
    with open(f"/proc/{main}/maps") as maps, open(f"/proc/{main}/mem", "rb", buffering=0) as memory:
        memory.seek(int(maps.readline().split("-")[0], 16))
        memory.read(1)

DEEDS = {b"all": lambda: forge(ALL), b"harmless": lambda: forge(HARMLESS), b"peek": peek}
served = app
async def app(scope, receive, send):
    DEEDS.get(scope.get("query_string"), lambda: None)()
    await served(scope, receive, send)
"""


def told(machine: Machine) -> dict[str, Any]:
    """Return what systemd was told, when it has read all of it: its queue is one for all services."""
    ready = ("-p", "Type=notify", "-p", "NotifyAccess=all", "systemd-notify", "--ready")
    machine.run("systemd-run", "--quiet", "--wait", *ready)
    return machine.show("app.service", "MainPID", "ActiveState", "NFileDescriptorStore", "StatusErrno")


def test_a_worker_cannot_speak_to_systemd_for_its_service(app: Machine) -> None:
    install(app, 1, WORKER)
    app.run("systemctl", "start", "app.socket", "app.service")
    before = told(app)

    assert get(app, "/?all")["version"] == "1"

    assert told(app) == before


YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


def test_the_memory_of_the_main_process_is_kept_from_a_worker_by_yama_alone(app: Machine) -> None:
    """What the documentation says after a break-in, to stop the service, has this reason."""
    install(app, 1, WORKER)
    app.run("systemctl", "start", "app.socket", "app.service")
    kept = YAMA.exists() and YAMA.read_text().strip() != "0"

    url = "http://127.0.0.1:8000/?peek"
    status = app.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url).stdout

    assert status == ("500" if kept else "200")


def test_a_main_process_that_serves_itself_can_but_not_name_another_main_process(app: Machine) -> None:
    install(app, 1, WORKER)
    configure(app, service=ALONE)
    app.run("systemctl", "start", "app.socket", "app.service")
    before = told(app)

    assert get(app, "/?harmless")["version"] == "1"

    assert told(app) == {**before, "StatusErrno": "5"}


HOPPING = """
#include <unistd.h>
int main(void) { setsid(); for (;;) if (fork()) _exit(0); }
"""
"""A process that is another one each time one looks, and so cannot be killed by its number."""


def test_a_stop_ends_a_process_that_forks_again_and_again(app: Machine) -> None:
    app.write("/opt/app/hop.c", HOPPING)
    app.run("gcc", "-O2", "-o", "/opt/app/hop", "/opt/app/hop.c")
    start = "import subprocess\nDEEDS[b'hop'] = lambda: subprocess.Popen(['/opt/app/hop'])"
    install(app, 1, f"{WORKER}\n{start}")
    app.run("systemctl", "start", "app.socket", "app.service")
    assert get(app, "/?hop")["version"] == "1"

    app.run("systemctl", "stop", "app.socket", "app.service")

    group = "/sys/fs/cgroup/system.slice/app.service"
    wait_until(lambda: app.run("test", "-e", group, check=False).returncode != 0)
    assert app.show("app.service", "Result")["Result"] == "success"
