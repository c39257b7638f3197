"""Units that are wrong, changed under a running service, or used in a moment that nobody thought of."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.roots import NEWEST
from tests.support.machine.service import (
    configure,
    get,
    install,
    main_pid,
    processes,
    reload,
    stop_each,
    wait_for,
    wait_until,
)
from tests.support.machine.supervised import (
    GATED,
    QUICK,
    SIZE,
    at_gate,
    begin_reload,
    end,
    kill,
    open_gate,
    start,
)

SOCKACT = "/opt/app/venv/bin/sockact"
PLAIN = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
WorkingDirectory=/opt/app
RuntimeDirectory=plain
ExecStart={command}
TimeoutStartSec=20s
{more}
"""


@pytest.fixture
def plain(app: Machine) -> Iterator[Machine]:
    """Give a machine for a service called `plain`, with the load app."""
    install(app, 1)
    yield app
    stop_each(app, "plain.socket", "plain.service")
    app.run("sh", "-c", "systemctl unmask --runtime plain.socket; rm -rf /run/systemd/system/plain*")
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "reset-failed")


def put(machine: Machine, command: str, socket: str = "", more: str = "") -> None:
    """Write the units of `plain`; without `socket` it has no socket unit."""
    folder = "/run/systemd/system"
    machine.write(f"{folder}/plain.service", PLAIN.format(command=command, more=more))
    if socket:
        machine.write(f"{folder}/plain.socket", f"[Socket]\nListenStream={socket}\n")
    machine.run("systemctl", "daemon-reload")


def ports(machine: Machine) -> set[int]:
    """Return the TCP ports on which somebody listens."""
    lines = machine.run("ss", "-Hltn").stdout.splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines}


def refused(machine: Machine, unit: str, status: int, *words: str, verb: str = "start") -> str:
    """Start a unit, which ends with that status and says these words; return what it logged."""
    since = time.time()
    assert machine.run("systemctl", verb, unit, check=False).returncode != 0
    wait_until(lambda: f"status={status}/" in machine.journal(unit, since=since))
    journal = machine.journal(unit, since=since)
    assert "is ready" not in journal
    for word in words:
        assert word in journal
    return journal


# A socket unit that passes nothing.


@pytest.mark.parametrize("options", [(), ("--listen=127.0.0.1:8010",), ("--workers=0",)], ids=str)
def test_a_changed_socket_unit_is_an_error_that_says_what_to_do_and_no_other_address(
    app: Machine, options: tuple[str, ...]
) -> None:
    install(app, 1)
    configure(app, *options)
    app.run("systemctl", "start", "app.socket", "app.service")
    change = "[Socket]\nListenStream=\nListenStream=127.0.0.1:8009\n"
    app.write("/etc/systemd/system/app.socket.d/port.conf", change)
    app.run("systemctl", "daemon-reload")

    refused(app, "app.service", 69, "`systemctl restart app.socket` repairs", verb="restart")

    left = set() if "--workers=0" in options else {8000}  # where the workers go on
    assert ports(app) & {8000, 8009, 8010} == left
    app.run("systemctl", "restart", "app.socket")
    script = "import urllib.request as u; u.urlopen('http://127.0.0.1:8009/', timeout=30).read()"
    app.run("python3", "-c", script)
    wait_until(lambda: ports(app) & {8000, 8009, 8010} == {8009})


def test_a_socket_unit_that_is_not_active_is_an_error_that_names_it(plain: Machine) -> None:
    put(plain, f"{SOCKACT} run app:app", "127.0.0.1:8020")

    refused(plain, "plain.service", 69, "systemctl restart plain.socket")

    assert not ports(plain) & {8000, 8020}
    plain.run("systemctl", "stop", "plain.service")
    plain.run("systemctl", "restart", "plain.socket")
    plain.run("systemctl", "start", "plain.service")
    assert ports(plain) & {8000, 8020} == {8020}


def test_a_socket_unit_of_another_name_is_known_by_what_it_starts(plain: Machine) -> None:
    other = "[Socket]\nListenStream=127.0.0.1:8021\nService=plain.service\n"
    plain.write("/run/systemd/system/plain-web.socket", other)
    put(plain, f"{SOCKACT} run app:app")

    refused(plain, "plain.service", 69, "systemctl restart plain-web.socket")

    assert 8000 not in ports(plain)


def test_an_instance_without_its_socket_is_an_error_that_names_it(plain: Machine) -> None:
    folder = "/run/systemd/system"
    command = f"{SOCKACT} run app:app"
    plain.write(f"{folder}/plain@.service", PLAIN.format(command=command, more=""))
    plain.write(f"{folder}/plain@.socket", "[Socket]\nListenStream=127.0.0.1:%i\n")
    plain.run("systemctl", "daemon-reload")

    refused(plain, "plain@8022.service", 69, "systemctl restart plain@8022.socket")

    assert not ports(plain) & {8000, 8022}


@pytest.mark.parametrize("more", ["Type=simple", "Type=notify"])
def test_a_service_without_a_socket_unit_listens_where_it_always_did(plain: Machine, more: str) -> None:
    put(plain, f"{SOCKACT} run app:app", more=more)

    plain.run("systemctl", "start", "plain.service")

    wait_until(lambda: 8000 in ports(plain))


@pytest.mark.parametrize("options", ["--workers=2", "--workers=0", "--listen=127.0.0.1:8010"])
def test_a_pid_namespace_of_its_own_is_an_error_and_nothing_is_bound(plain: Machine, options: str) -> None:
    """Systemd 257 has that option."""
    put(plain, f"{SOCKACT} run {options} app:app", "127.0.0.1:8020", "PrivatePIDs=yes")
    plain.run("systemctl", "start", "plain.socket")

    if plain.systemd_version() < 257:
        plain.run("systemctl", "start", "plain.service")
    else:
        refused(plain, "plain.service", 78, "PrivatePIDs=yes", "expected PrivatePIDs=no")

    assert ports(plain) & {8000, 8010, 8020} == {8020}


def test_a_masked_socket_unit_is_none(plain: Machine) -> None:
    put(plain, f"{SOCKACT} run app:app")
    plain.run("systemctl", "mask", "--runtime", "plain.socket")

    plain.run("systemctl", "start", "plain.service")

    assert 8000 in ports(plain)


def test_who_was_told_to_listen_need_not_care_for_a_socket_unit_that_nothing_starts(plain: Machine) -> None:
    put(plain, f"{SOCKACT} run --listen=127.0.0.1:8023 app:app", "127.0.0.1:8020")

    plain.run("systemctl", "start", "plain.service")

    assert ports(plain) & {8020, 8023} == {8023}


def test_a_transient_service_listens_where_it_always_did(plain: Machine) -> None:
    run = ("systemd-run", "--unit=plain", "--working-directory=/opt/app", SOCKACT, "run", "app:app")
    plain.run(*run)

    wait_until(lambda: 8000 in ports(plain))


def test_a_server_started_by_hand_within_a_service_listens_where_it_is_told(plain: Machine) -> None:
    shell = f"{SOCKACT} run --listen=127.0.0.1:8024 app:app; :"
    put(plain, f"/bin/sh -c 'sh -c \"{shell}\"'", "127.0.0.1:8020", "Type=simple")

    plain.run("systemctl", "start", "plain.service")  # as its socket is not active, nothing is passed

    wait_until(lambda: 8024 in ports(plain))


# A wrapper that keeps the sockets, or loses them.


@pytest.mark.parametrize(
    ("wrapped", "words"),
    [
        ("/bin/bash -c '. venv/bin/activate; sockact run app:app; exit $?'", ("(bash)", "exec")),
        ("/bin/bash -c '{} run --listen=127.0.0.1:8025 app:app; exit $?'", ("bash", "exec")),
        ("/usr/bin/python3 -c 'import subprocess as s, sys; sys.exit(s.call({}))'", ("python3", "exec")),
        ("/usr/bin/env -i {} run app:app", ("LISTEN_FDS is unset", "descriptor 3 is a listening socket")),
        ("/usr/bin/env -u LISTEN_PID {} run app:app", ("LISTEN_FDS=1 without LISTEN_PID",)),
    ],
    ids=["activate", "listen", "a program", "env -i", "env -u"],
)
def test_a_wrapper_that_keeps_or_loses_the_sockets_is_named_and_nothing_is_bound(
    plain: Machine, wrapped: str, words: tuple[str, ...]
) -> None:
    words = tuple(word.strip("()") for word in words)
    argv = f'["{SOCKACT}", "run", "app:app"]' if "python3" in wrapped else SOCKACT
    put(plain, wrapped.replace("{}", argv).replace("$?", "$$?"), "127.0.0.1:8020")
    plain.run("systemctl", "start", "plain.socket")

    refused(plain, "plain.service", 78, *words)

    assert ports(plain) & {8000, 8020, 8025} == {8020}


def test_a_wrapper_whose_socket_unit_passes_nothing_is_no_reason_to_listen_elsewhere(
    plain: Machine,
) -> None:
    put(plain, f"/bin/sh -c '{SOCKACT} run app:app; exit $$?'", "127.0.0.1:8020")

    refused(plain, "plain.service", 69, "systemctl restart plain.socket")

    assert not ports(plain) & {8000, 8020}


def test_a_wrapper_that_is_heard_in_the_place_of_its_service_is_named(plain: Machine) -> None:
    put(plain, f"/bin/sh -c '{SOCKACT} run app:app; exit $$?'", more="TimeoutStartSec=5s")
    since = time.time()

    assert plain.run("systemctl", "start", "plain.service", check=False).returncode != 0

    ignored = "ignores the notifications of others (NotifyAccess=main)"
    assert ignored in plain.journal("plain.service", since=since)


# The supervisor is killed while systemd reloads the service.


def test_what_is_in_flight_survives_the_supervisor_that_is_killed_in_a_reload(app: Machine) -> None:
    pid = start(app, *QUICK)
    with load(app) as clients:
        reloading, _ = begin_reload(app)
        before = processes(app)
        killed = time.monotonic()

        kill(app, pid)

        open_gate(app)
        wait_until(lambda: main_pid(app) not in (0, pid))
        assert time.monotonic() - killed < 15  # not the watchdog's time, 30 s
        assert end(reloading) != 0
        wait_for(app, "SubState=running")
        wait_until(lambda: not processes(app) & before)
        report = clients.report()
    assert_nothing_lost(report)
    assert app.show("app.service", "NRestarts") == {"NRestarts": "1"}


def test_a_supervisor_that_is_killed_before_its_reload_is_heard_costs_nobody_anything(app: Machine) -> None:
    pid = start(app, *QUICK)
    with load(app) as clients:
        app.run("kill", "-STOP", str(pid))
        reloading = app.popen("systemctl", "reload", "app.service")
        wait_until(lambda: "reload" in app.show("app.service", "SubState")["SubState"])

        kill(app, pid)

        wait_until(lambda: main_pid(app) not in (0, pid))
        assert end(reloading) != 0
        report = clients.report()
    assert_nothing_lost(report)


@pytest.mark.newest("supervised")
@pytest.mark.parametrize("suite", ["trixie", NEWEST], indirect=True)  # systemd 253 or later
@pytest.mark.parametrize("options", [QUICK, ("--workers=0",)], ids=["supervised", "alone"])
def test_a_unit_of_type_notify_reload_is_told_what_it_waits_for(
    app: Machine, options: tuple[str, ...]
) -> None:
    pid = start(app, *options, service="Type=notify-reload\nExecReload=")
    with load(app) as clients:
        install(app, 2, GATED)
        reloading = app.popen("systemctl", "reload", "app.service")
        wait_for(app, "SubState=reload-notify")
        wait_until(lambda: at_gate(app))

        open_gate(app)

        assert end(reloading) == 0
        assert (get(app)["version"], main_pid(app)) == ("2", pid)
        report = clients.report()
    assert_nothing_lost(report)


@pytest.mark.parametrize("ask", ["kill -s HUP {pid}", f"{SOCKACT} reload app"], ids=["SIGHUP", "root"])
@pytest.mark.parametrize("options", [QUICK, ("--workers=0",)], ids=["supervised", "alone"])
def test_a_reload_that_systemd_has_not_asked_for_does_not_keep_it_from_a_restart(
    app: Machine, ask: str, options: tuple[str, ...]
) -> None:
    alone = "--workers=0" in options
    pid = start(app, *options)
    with load(app) as clients:
        install(app, 2, GATED)
        reloading = app.popen("sh", "-c", ask.format(pid=pid))
        wait_until(lambda: len(at_gate(app)) == (1 if alone else SIZE))
        assert ": reloading, " in app.show("app.service", "StatusText")["StatusText"]
        killed = time.monotonic()

        kill(app, pid)

        open_gate(app)
        wait_until(lambda: main_pid(app) not in (0, pid))
        assert time.monotonic() - killed < 15  # not the watchdog's time, 30 s
        end(reloading)
        wait_for(app, "SubState=running")
        report = clients.report()
    if not alone:
        assert_nothing_lost(report)


def test_a_reload_of_a_service_alone_that_is_killed_does_not_wait_for_what_it_forgot(app: Machine) -> None:
    install(app, 1, "import subprocess; subprocess.Popen(['sleep', '600'])")
    configure(app, "--workers=0", service="KillMode=mixed")
    app.run("systemctl", "start", "app.socket", "app.service")
    pid = main_pid(app)
    install(app, 2, "import time; time.sleep(600)")
    reloading = app.popen("systemctl", "reload", "app.service")
    wait_until(lambda: len(processes(app)) > 3)
    killed = time.monotonic()

    kill(app, pid)

    install(app, 3)
    assert end(reloading) != 0
    wait_until(lambda: main_pid(app) not in (0, pid))
    assert time.monotonic() - killed < 15
    assert get(app)["version"] == "3"


# What a reload cannot take over.


@pytest.mark.parametrize("count", [0, 1])
def test_a_setting_that_a_drop_in_changes_is_named_by_the_reload(app: Machine, count: int) -> None:
    install(app, 1)
    more = "KillMode=mixed" if not count else ""
    configure(app, "--probation=0.1s", service=f"Environment=SOCKACT_WORKERS={count}\n{more}")
    app.run("systemctl", "start", "app.socket", "app.service")
    change = "[Service]\nEnvironment=SOCKACT_WORKERS=4 COLOUR=red\n"
    app.write("/etc/systemd/system/app.service.d/zz.conf", change)
    app.run("systemctl", "daemon-reload")
    since = time.time()

    reload(app)

    remark = "SOCKACT_WORKERS=4, Environment= in app.service"
    journal = app.journal("app.service", since=since)
    assert f"gen 2 is ready; only a restart takes over: {remark}" in journal
    assert f"the reload did not take over, a restart does: {remark}" in journal
    assert app.show("app.service", "StatusText")["StatusText"].endswith(f"takes over: {remark}")
    assert remark in app.run(SOCKACT, "status", "app").stdout
    reload(app)  # still
    assert app.show("app.service", "StatusText")["StatusText"].endswith(f"takes over: {remark}")
    app.run("systemctl", "restart", "app.service")
    reload(app)
    assert "restart" not in app.show("app.service", "StatusText")["StatusText"]


def test_a_command_line_that_has_changed_is_named_also_where_nobody_tells_the_environment(
    app: Machine,
) -> None:
    start(app, *QUICK)
    configure(app, *QUICK, "--access-log")
    install(app, 2)

    said = app.run(SOCKACT, "reload", "app").stdout

    assert said == "gen 2 is ready; only a restart takes over: ExecStart= in app.service\n"


def test_an_address_that_has_changed_is_named_by_the_reload(app: Machine) -> None:
    start(app, *QUICK)
    app.write("/etc/systemd/system/app.socket.d/port.conf", "[Socket]\nListenStream=127.0.0.1:8009\n")
    app.run("systemctl", "daemon-reload")

    said = app.run(SOCKACT, "reload", "app").stdout

    assert said == "gen 2 is ready; only a restart takes over: ListenStream= in app.socket\n"


def test_what_systemd_itself_goes_by_is_not_named(app: Machine) -> None:
    start(app, *QUICK)
    more = "[Unit]\nDescription=x\n[Service]\nTimeoutStopSec=50s\nMemoryMax=1G\nRestartSec=3s\n"
    app.write("/etc/systemd/system/app.service.d/zz.conf", more)
    app.run("systemctl", "daemon-reload")

    assert app.run(SOCKACT, "reload", "app").stdout == "gen 2 is ready\n"


# A Unix socket whose path goes.


def test_a_socket_in_the_runtime_directory_is_told_of_at_the_start_and_when_its_path_is_gone(
    plain: Machine,
) -> None:
    put(plain, f"{SOCKACT} run app:app", "/run/plain/web.sock", "Restart=no")
    plain.run("systemctl", "start", "plain.socket", "plain.service")
    journal = plain.journal("plain.service")
    assert "plain.socket=/run/plain/web.sock is in RUNTIME_DIRECTORY, which systemd removes" in journal
    assert "no client gets here" not in plain.run(SOCKACT, "status", "plain").stdout
    since = time.time()

    plain.run("systemctl", "restart", "plain.service")

    advice = "stop the service, and restart its socket unit"
    gone = f"no client gets here by /run/plain/web.sock: it was removed; {advice}"
    assert gone in plain.run(SOCKACT, "status", "plain").stdout
    assert "it is gone already: stop the service, and restart the socket unit" in plain.journal(
        "plain.service", since=since
    )


def test_a_path_that_another_socket_has_taken_is_told_of_by_the_status(plain: Machine) -> None:
    since = time.time()
    put(plain, f"{SOCKACT} run app:app", "/run/plain-web.sock")
    plain.run("systemctl", "start", "plain.socket", "plain.service")
    assert "no client gets here" not in plain.run(SOCKACT, "status", "plain").stdout
    assert "RUNTIME_DIRECTORY" not in plain.journal("plain.service", since=since)
    script = (
        "import os, socket, time; os.unlink('/run/plain-web.sock'); s = socket.socket(socket.AF_UNIX)\n"
        "s.bind('/run/plain-web.sock'); s.listen(); print('bound', flush=True); time.sleep(600)"
    )
    with plain.popen("python3", "-c", script) as other:
        assert other.stdout
        assert other.stdout.readline() == "bound\n"
        taken = plain.run(SOCKACT, "status", "plain").stdout
        other.kill()

    assert "no client gets here by /run/plain-web.sock: another socket is bound there now" in taken
    wait_until(lambda: "no socket is bound there any more" in plain.run(SOCKACT, "status", "plain").stdout)
    plain.run("systemctl", "stop", "plain.service")
    plain.run("systemctl", "restart", "plain.socket")
    plain.run("systemctl", "start", "plain.service")
    assert "no client gets here" not in plain.run(SOCKACT, "status", "plain").stdout


def test_a_runtime_directory_that_is_preserved_is_a_place_for_a_socket(plain: Machine) -> None:
    since = time.time()
    put(plain, f"{SOCKACT} run app:app", "/run/plain/web.sock", "RuntimeDirectoryPreserve=yes")
    plain.run("systemctl", "start", "plain.socket", "plain.service")

    plain.run("systemctl", "restart", "plain.service")

    assert "systemd removes" not in plain.journal("plain.service", since=since)
    assert "no client gets here" not in plain.run(SOCKACT, "status", "plain").stdout
