"""Processes that end as nobody has planned it: for want of memory, by a fault, by somebody's hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from sockact.protocols.service_events import Cause, ServiceEvents
from tests.support.machine.load import assert_lost_at_most, assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    ALONE,
    LIMIT,
    assert_reload_refused,
    client,
    configure,
    get,
    install,
    main_pid,
    processes,
    reload,
    wait_for,
    wait_until,
)
from tests.support.machine.supervised import (
    CLIENTS,
    FEW,
    GATED,
    QUICK,
    SIZE,
    begin_reload,
    end,
    open_gate,
    start,
    stream,
    workers,
)

SUPERVISED = pytest.mark.parametrize("alone", [False, True], ids=["supervised", "alone"])
CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"
SOCKACT = "/opt/app/venv/bin/sockact"

HOARD = "hoard = [bytes([1]) * 2**20 for _ in range(2**14)]"
WAYS = {
    "SIGSEGV": "import ctypes; ctypes.string_at(0)",
    "SIGABRT": "os.abort()",
    "SIGBUS": "import signal; os.kill(os.getpid(), signal.SIGBUS)",
    "SIGKILL": HOARD,  # of the kernel, where there is not so much
}
ON_REQUEST = """
inner = app
async def app(scope, receive, send):
    match scope.get("path"):
        {}
    await inner(scope, receive, send)
"""
DIES = ON_REQUEST.format(
    "\n        ".join(f"case '/{name}':\n            {code}" for name, code in WAYS.items())
)
MEMORY = "200M"


@pytest.fixture
def scarce(app: Machine) -> Iterator[Callable[[], None]]:
    """Give what leaves the processes of the service, and those that they start, little memory.

    It is its own control group, or where the machine's systemd has no say over memory, one of the kernel's
    older kind, which systemd knows nothing of.
    """
    if "memory" in app.read(CONTROLLERS):

        def limit() -> None:
            app.run("systemctl", "set-property", "--runtime", "app.service", f"MemoryMax={MEMORY}")

        yield limit
        app.run("systemctl", "revert", "app.service")
        return
    app.run("mkdir", "-p", "/run/memory")
    if app.run("mount", "-t", "cgroup", "-o", "memory", "memory", "/run/memory", check=False).returncode:
        pytest.skip("this kernel gives machines no say over memory")
    group = f"/run/memory/sockact-{app.leader}"

    def limit_by_group() -> None:
        join = "".join(f"echo {pid} >cgroup.procs;" for pid in processes(app))
        app.run("sh", "-euc", f"cd {group}; echo {MEMORY} >memory.limit_in_bytes; {join}")

    app.run("mkdir", group)
    yield limit_by_group
    app.run("systemctl", "stop", "app.socket", "app.service")
    app.run("rmdir", group)
    app.run("umount", "/run/memory")


def begin(machine: Machine, *lines: str, alone: bool = False) -> int:
    """Start the first version, and return the PID of the main process."""
    install(machine, 1, *lines)
    options = ("--workers=0",) if alone else QUICK
    configure(machine, *options, service=ALONE if alone else "")
    machine.run("systemctl", "start", "app.socket", "app.service")
    return main_pid(machine)


def ends(machine: Machine) -> dict[Cause, int]:
    """Return how many workers have ended for each cause for which some have."""
    service = json.loads(machine.run(SOCKACT, "status", "--json", "app.service").stdout)
    events = ServiceEvents(tuple(service["statistics"]["events"]))
    return {cause: events.ends(cause) for cause in (Cause.OOM, Cause.SIGNAL)}


def ask(machine: Machine, path: str) -> str:
    """Ask for something that may cost the process that answers its life; return what was printed."""
    return client(machine, path).communicate(timeout=LIMIT)[0]


# What a request does.


def test_a_worker_that_dies_of_a_request_costs_what_it_had_in_flight(
    app: Machine, scarce: Callable[[], None]
) -> None:
    pid = begin(app, DIES)
    scarce()
    with load(app, *FEW) as clients:
        for name in WAYS:
            before = workers(app)

            assert "RemoteDisconnected" in ask(app, f"/{name}")

            wait_until(
                lambda before=before: len(before & workers(app)) == SIZE - 1 and len(workers(app)) == SIZE
            )
            assert f"was killed by {name}" in app.journal("app.service")
        report = clients.report()
    assert_lost_at_most(CLIENTS * len(WAYS), report)
    assert app.show("app.service", "MainPID", "NRestarts") == {"MainPID": str(pid), "NRestarts": "0"}
    oom = 1 if "memory" in app.read(CONTROLLERS) else 0  # else systemd, and so the service, knows nothing
    assert ends(app) == {Cause.OOM: oom, Cause.SIGNAL: len(WAYS) - oom}


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_service_alone_that_dies_of_a_request_is_started_again_and_who_comes_meanwhile_waits(
    app: Machine, scarce: Callable[[], None], name: str
) -> None:
    pid = begin(app, DIES, alone=True)
    scarce()
    with load(app, *FEW) as clients:
        assert "RemoteDisconnected" in ask(app, f"/{name}")

        wait_until(lambda: main_pid(app) not in (0, pid))
        report = clients.report()
    assert_lost_at_most(CLIENTS, report)


# What new code does.


@SUPERVISED
def test_new_code_that_dies_in_its_start_is_refused(
    app: Machine, scarce: Callable[[], None], alone: bool
) -> None:
    begin(app, alone=alone)
    scarce()
    with load(app, *FEW, "slow:1@0.4,seconds=2") as clients:
        for name in ("SIGSEGV", "SIGKILL"):
            install(app, 2, WAYS[name])
            assert_reload_refused(app, f"was killed by {name}")
        install(app, 3)
        reload(app)
        report = clients.report()
    assert_nothing_lost(report)
    assert get(app)["version"] == "3"


@SUPERVISED
def test_code_that_dies_in_the_start_of_the_service_is_tried_again(app: Machine, alone: bool) -> None:
    install(app, 1, WAYS["SIGSEGV"])
    configure(app, f"--workers={0 if alone else SIZE}", service=ALONE if alone else "")
    app.run("systemctl", "start", "app.socket")
    waiting = client(app)
    wait_until(lambda: app.show("app.service", "NRestarts")["NRestarts"] != "0")

    install(app, 2)

    assert '"version": "2"' in waiting.communicate(timeout=LIMIT)[0]


def test_a_worker_that_dies_while_it_drains_costs_what_it_had_in_flight(app: Machine) -> None:
    at_drain = (
        "@sockact.hooks.on_drain(timeout=60)\ndef die():\n    while not os.path.exists('/opt/app/gate'):"
    )
    begin(app, "import sockact, time", f"{at_drain}\n        time.sleep(0.02)\n    {WAYS['SIGABRT']}")
    before = workers(app)
    with load(app, *FEW) as clients, stream(app) as request:
        install(app, 2)
        reload(app)

        open_gate(app)

        assert "IncompleteRead" in request.communicate(timeout=LIMIT)[0]
        wait_until(lambda: not before & processes(app))
        report = clients.report()
    assert_nothing_lost(report)
    assert app.show("app.service", "SubState", "NRestarts") == {"SubState": "running", "NRestarts": "0"}


# Who waits for a reload.


@SUPERVISED
def test_a_caller_that_is_killed_leaves_its_reload_to_the_service(app: Machine, alone: bool) -> None:
    pid = begin(app, alone=alone)
    with load(app, *FEW, "slow:1@0.4,seconds=2") as clients:
        for version, signals in ((2, ["KILL"]), (3, ["STOP", "KILL"]), (4, ["INT"])):
            app.run("rm", "-f", "/opt/app/gate")
            install(app, version, GATED)
            reloading = app.popen("systemctl", "reload", "app.service")
            wait_until(lambda: ": reloading, " in app.show("app.service", "StatusText")["StatusText"])

            for each in signals:
                app.run("kill", f"-{each}", app.show("app.service", "ControlPID")["ControlPID"])

            assert end(reloading) != 0
            open_gate(app)
            wait_until(lambda: "reloading" not in app.show("app.service", "StatusText")["StatusText"])
            assert get(app)["version"] == str(version)
            wait_for(app, "SubState=running")
        install(app, 5)
        reload(app)
        report = clients.report()
    assert_nothing_lost(report)
    assert (get(app)["version"], main_pid(app)) == ("5", pid)


def test_a_restart_does_not_wait_for_a_caller_that_is_stopped(app: Machine) -> None:
    start(app, *QUICK)
    with load(app, *FEW) as clients:
        reloading, _ = begin_reload(app)
        caller = app.show("app.service", "ControlPID")["ControlPID"]
        app.run("kill", "-STOP", caller)
        install(app, 3)

        app.run("systemctl", "restart", "app.service")

        end(reloading)
        assert get(app)["version"] == "3"
        report = clients.report()
    assert_nothing_lost(report)
    assert int(caller) not in processes(app)


def test_of_two_callers_one_that_is_terminated_leaves_the_other_one_its_answer(app: Machine) -> None:
    start(app, *QUICK)
    with load(app, *FEW) as clients:
        reloading, _ = begin_reload(app)
        # A shell tells its PID, which is that of the caller from then on.
        callers = [app.popen("sh", "-c", f"echo $$; exec {SOCKACT} reload app") for _ in range(2)]
        pids = [caller.stdout.readline().strip() for caller in callers if caller.stdout]

        app.run("kill", "-TERM", pids[0])

        open_gate(app)
        assert end(callers[0]) != 0
        assert "is ready" in callers[1].communicate(timeout=LIMIT)[0]
        assert end(reloading) == 0
        report = clients.report()
    assert_nothing_lost(report)
