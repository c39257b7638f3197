"""Real systemd confirms what the rules of `sockact check` say: it complains itself, or the harm is seen."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping

import pytest

from sockact.check.options import GONE, SECTIONS, SINCE
from sockact.check.rule import RULES
from sockact.check.rules.writing import NEWEST
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import wait_until
from tests.support.unit_cases import CASES, UnitCase

FOLDER = "/run/systemd/system"
CHECK = ("/opt/app/venv/bin/sockact", "check")

# --- The shipped units, and this command, on the machine


@pytest.mark.newest
def test_the_shipped_units_have_no_finding_on_a_machine_that_runs_them(app: Machine) -> None:
    drop_in = (CHECKOUT / "units/app-tls.conf").read_text()
    done = app.run(*CHECK, "app", check=False)
    app.write("/etc/systemd/system/app.service.d/tls.conf", drop_in)
    with_tls = app.run(*CHECK, "app.socket", check=False)

    assert (done.returncode, done.stdout) == (0, "app.service app.socket: nothing found\n")
    assert (with_tls.returncode, with_tls.stdout) == (0, "app.socket app.service: nothing found\n")


def test_the_machines_own_units_are_read_without_a_fault(app: Machine) -> None:
    done = app.run(*CHECK, "/usr/lib/systemd/system", check=False)

    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert "unknown-option" not in done.stdout, done.stdout
    assert "unknown-section" not in done.stdout, done.stdout
    assert "value-not-understood" not in done.stdout, done.stdout


@pytest.mark.newest
def test_the_known_options_are_those_of_this_systemd(machine: Machine) -> None:
    version = machine.systemd_version()
    dumped = machine.run("/usr/lib/systemd/systemd", "--dump-configuration-items").stdout
    for section in SECTIONS:
        text = dumped.partition(f"[{section}]\n")[2].partition("\n\n")[0]
        theirs = set(re.findall(r"^(\w+)=", text, re.MULTILINE))

        assert theirs - SECTIONS[section] == set()
        gone = GONE if version >= NEWEST else set()
        assert {
            name for name in SECTIONS[section] - theirs - gone if SINCE.get(name, 0) <= version
        } == set()
        assert theirs & gone == set()


# --- Complaints of systemd itself

COMPLAINTS = {
    "several-commands": "more than one ExecStart=",
    "no-command": "no ExecStart=",
    "no-address": "no Listen setting",
    "unknown-option": "Unknown key",
    "wrong-section": "Unknown key",
    "unknown-section": "Unknown section",
    "option-too-new": "Unknown key",
    "type-too-new": "Failed to parse service type",
    "value-not-understood": "Failed to parse",
    "obsolete-option": "MemoryLimit=",
    "user-nobody": "Special user nobody",
    "service-of-socket-missing": "not loaded, socket cannot be started",
    "accepted-for-a-server": "not loaded, socket cannot be started",
    "working-directory-relative": "path is not absolute",
}
OLD = ("option-too-new", "type-too-new")
COMPLAINED = [case for case in CASES if case.rule in COMPLAINTS and case.version in (None, 252)]


@pytest.mark.parametrize("case", COMPLAINED, ids=lambda case: f"{case.rule}-{case.base}{case.unit}")
def test_systemd_complains_of_what_the_rule_finds(machine: Machine, case: UnitCase) -> None:
    knows = case.rule in OLD and machine.systemd_version() > 252
    assert COMPLAINTS[case.rule] not in verified(machine, case.good)
    assert (COMPLAINTS[case.rule] in verified(machine, case.bad)) != knows


def verified(machine: Machine, units: Mapping[str, str]) -> str:
    """Return what `systemd-analyze verify` says about units."""
    for name, text in units.items():
        machine.write(f"/run/verified/{name}", text)
    paths = [f"/run/verified/{name}" for name in units]
    said = machine.run("systemd-analyze", "verify", "--man=no", *paths, check=False).stderr
    machine.run("rm", "-r", "/run/verified")
    # Of the distribution's own units it says what it likes.
    stems = {name.partition(".")[0] for name in units}
    return "\n".join(line for line in said.splitlines() if any(stem in line for stem in stems))


# --- The harm itself

SERVERS = {
    "sleeps": "exec sleep 1000",
    "listens": "exec /usr/bin/python3 -m http.server 8010",
    "listens-80": "exec /usr/bin/python3 -m http.server 80",
    "ignores": "trap '' TERM; while :; do sleep 0.05; done",
    "leaves": "sleep 1000 & exit 0",
    "fails": "exit 1",
    "ends": "exit 0",
    "ready": "systemd-notify --ready; exec sleep 1000",
    "child": "sleep 1000 & exec sleep 1000",
    "says": 'echo "has: $*"; exec sleep 1000',
    "env": 'echo "fdstore=${FDSTORE-none}"; exec sleep 1000',
}
"""Programs that take the place of servers: the rules know a server by its name."""


@pytest.fixture
def bench(machine: Machine) -> Iterator[Machine]:
    """Give a machine for units called `t...`; nothing is left of them."""
    yield machine
    machine.run("sh", "-c", "systemctl stop 't*.socket' 't*.service'", check=False)
    machine.run("sh", "-c", KILL, check=False)
    machine.run(
        "sh", "-c", f"rm -rf {FOLDER}/t.* {FOLDER}/t@.* {FOLDER}/t2.* /etc/systemd/system/t.* /opt/fake"
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")


KILL = "for group in /sys/fs/cgroup/system.slice/t*.service; do echo 1 >$group/cgroup.kill; done"


def put(
    machine: Machine,
    rule: str,
    behaviour: str,
    service: str,
    socket: str = "",
    server: str = "uvicorn",
    **more: str,
) -> None:
    """Write t.service, in which the rule finds its mistake, and whose server behaves in that way.

    Args:
        machine: the machine.
        rule: the rule; empty for units without its mistake.
        behaviour: one of SERVERS.
        service: the lines of the unit; those without a section are in [Service].
        socket: the lines in [Socket] of t.socket; empty for none.
        server: the name of the server.
        more: further units, with `_` for the dot in their names.
    """
    command = f"ExecStart=/opt/fake/{server} t:app\n" if "ExecStart=" not in service else ""
    units = {"t.service": f"[Service]\n{command}{service}\n"}
    if socket:
        units["t.socket"] = f"[Socket]\n{socket}\n"
    units |= {name.replace("_", "."): text for name, text in more.items()}
    for name, text in units.items():
        machine.write(f"{FOLDER}/{name}", text)
    machine.write(f"/opt/fake/{server}", f"#!/bin/sh\n{SERVERS[behaviour]}\n", 0o755)
    machine.run("systemctl", "daemon-reload")
    said = machine.run(*CHECK, *(f"{FOLDER}/{name}" for name in units), check=False).stdout
    assert not rule or f" {rule}: " in said, said


def start(machine: Machine, unit: str = "t.service", verb: str = "start") -> int:
    return machine.run("systemctl", verb, unit, check=False).returncode


def shown(machine: Machine, name: str, unit: str = "t.service") -> str:
    return machine.show(unit, name).get(name, "")


def connect(machine: Machine, address: str = "127.0.0.1:8010") -> bool:
    """Return whether a connection is accepted or queued."""
    host, _, port = address.rpartition(":")
    script = f"import socket; socket.create_connection(({host!r}, {port}), 10)"
    return machine.run("python3", "-c", script, check=False).returncode == 0


def test_readiness_never_told(bench: Machine) -> None:
    put(bench, "readiness-never-told", "sleeps", "Type=notify\nTimeoutStartSec=300ms")

    assert start(bench) != 0
    assert shown(bench, "Result") == "timeout"


def test_start_always_succeeds(bench: Machine) -> None:
    put(bench, "start-always-succeeds", "sleeps", "User=nosuch")
    assert start(bench) == 0

    put(bench, "", "sleeps", "Type=exec\nUser=nosuch")
    assert start(bench) != 0


def test_main_process_leaves(bench: Machine) -> None:
    service = "ExecStart=/opt/fake/gunicorn --daemon t:app"
    put(bench, "main-process-leaves", "leaves", service, server="gunicorn")

    start(bench)

    wait_until(lambda: shown(bench, "ActiveState") == "inactive")


@pytest.mark.parametrize("exec_", ["", "exec "])
def test_shell_without_exec(bench: Machine, exec_: str) -> None:
    service = (
        f"Type=notify\nTimeoutStartSec=500ms\nExecStart=/bin/sh -c '{exec_}/opt/fake/sockact run t:app; :'"
    )
    put(bench, "" if exec_ else "shell-without-exec", "sleeps", service, server="sockact")
    notify = "import os, sdnotify, time; sdnotify.SystemdNotifier().notify('READY=1'); time.sleep(1000)"
    bench.write("/opt/fake/sockact", f"#!/opt/app/venv/bin/python3\n{notify}\n", 0o755)

    assert (start(bench) == 0) is bool(exec_)


def test_watchdog_without_pings(bench: Machine) -> None:
    put(bench, "watchdog-without-pings", "sleeps", "WatchdogSec=200ms")

    start(bench)

    wait_until(lambda: shown(bench, "Result") == "watchdog")


def test_shell_syntax(bench: Machine) -> None:
    put(bench, "shell-syntax", "says", "ExecStart=/opt/fake/uvicorn t:app >> /run/t.log 2>&1")
    since = time.time()

    start(bench)

    wait_until(lambda: "has: t:app >> /run/t.log 2>&1" in bench.journal("t.service", since=since))
    assert bench.run("ls", "/run/t.log", check=False).returncode != 0


def test_percent_sign(bench: Machine) -> None:
    put(
        bench,
        "percent-sign",
        "says",
        "ExecStart=/opt/fake/uvicorn t:app\nExecStartPre=/bin/sh -c 'echo +%m.'",
    )
    since = time.time()

    start(bench)

    identity = bench.read("/etc/machine-id").strip()
    wait_until(lambda: f"+{identity}." in bench.journal("t.service", since=since))


def test_reload_kills(bench: Machine) -> None:
    put(
        bench, "reload-kills", "sleeps", "Type=exec\nRestart=on-failure\nExecReload=/bin/kill -HUP $MAINPID"
    )
    start(bench)

    start(bench, verb="reload")  # it succeeds if systemd hears of the end of kill(1) first

    wait_until(lambda: shown(bench, "ActiveState") == "inactive")
    assert shown(bench, "Result") == "success"


def test_reload_by_signal_and_reload_missing(bench: Machine) -> None:
    put(
        bench,
        "reload-unconfirmed",
        "ignores",
        "Type=exec\nExecReload=/bin/kill -USR1 $MAINPID",
        server="granian",
    )
    bench.write("/opt/fake/granian", "#!/bin/sh\ntrap '' USR1; while :; do sleep 0.05; done\n", 0o755)
    start(bench)
    assert start(bench, verb="reload") == 0  # and nothing was reloaded

    put(bench, "reload-missing", "sleeps", "Type=exec", server="granian")
    bench.run("systemctl", "daemon-reload")
    assert start(bench, verb="reload") != 0


def test_stop_timeout_below_drain(bench: Machine) -> None:
    service = "Type=exec\nTimeoutStopSec=200ms"
    put(bench, "stop-timeout-below-drain", "ignores", service, server="gunicorn")
    start(bench)

    assert start(bench, verb="stop") == 0

    assert (shown(bench, "ActiveState"), shown(bench, "Result")) == ("failed", "timeout")


@pytest.mark.parametrize("mode", ["process", "none"])
def test_kill_mode_leaves_processes(bench: Machine, mode: str) -> None:
    put(bench, "kill-mode-leaves-processes", "child", f"Type=exec\nKillMode={mode}")
    start(bench)
    group = "/sys/fs/cgroup/system.slice/t.service/cgroup.procs"
    wait_until(lambda: len(bench.run("cat", group).stdout.split()) >= 2)

    bench.run("systemctl", "stop", "t.service")

    assert bench.run("cat", group, check=False).stdout.split() != []


def test_kill_mode_control_group(bench: Machine) -> None:
    service = "Type=exec\nTimeoutStopSec=40\nOOMPolicy=continue"
    put(bench, "kill-mode-control-group", "child", service, server="gunicorn")
    script = "(trap 'echo child was told; exit' TERM; while :; do sleep 0.05; done) &\nexec sleep 1000"
    bench.write("/opt/fake/gunicorn", f"#!/bin/sh\n{script}\n", 0o755)
    since = time.time()
    start(bench)
    bench.run("systemctl", "stop", "t.service")

    wait_until(lambda: "child was told" in bench.journal("t.service", since=since))


def test_kill_signal_cuts(bench: Machine) -> None:
    put(bench, "kill-signal-cuts", "ignores", "Type=exec\nKillSignal=SIGKILL\nTimeoutStopSec=60")
    start(bench)

    bench.run("systemctl", "stop", "t.service")

    assert shown(bench, "ExecMainStatus") == "9"


LISTENING = "ListenStream=127.0.0.1:8010"


def test_failures_close_socket(bench: Machine) -> None:
    put(bench, "failures-close-socket", "fails", "Type=exec", LISTENING, server="gunicorn")
    bench.run("systemctl", "start", "t.socket")

    connect(bench)

    wait_until(lambda: shown(bench, "ActiveState", "t.socket") == "failed")
    assert shown(bench, "Result", "t.socket") == "service-start-limit-hit"
    assert not connect(bench)


def test_failures_end_service(bench: Machine) -> None:
    put(bench, "failures-end-service", "fails", "Type=exec\nRestart=on-failure")

    start(bench)

    wait_until(lambda: shown(bench, "ActiveState") == "failed" and int(shown(bench, "NRestarts")) >= 4)
    assert shown(bench, "SubState") == "failed"


def test_trigger_limit_low(bench: Machine) -> None:
    service = "Type=exec\n[Unit]\nStartLimitIntervalSec=0"
    put(
        bench,
        "trigger-limit-low",
        "ends",
        service,
        f"{LISTENING}\nTriggerLimitIntervalSec=60s",
        server="gunicorn",
    )
    bench.run("systemctl", "start", "t.socket")

    connect(bench)

    wait_until(lambda: shown(bench, "Result", "t.socket") == "trigger-limit-hit")


def test_socket_not_required(bench: Machine) -> None:
    put(bench, "socket-not-required", "sleeps", "Type=exec", LISTENING, server="gunicorn")
    bench.run("systemctl", "start", "t.socket", "t.service")
    assert start(bench, "t.socket", verb="restart") != 0
    assert shown(bench, "ActiveState", "t.socket") != "active"

    bench.run("systemctl", "stop", "t.service")
    put(
        bench,
        "",
        "sleeps",
        "Type=exec\n[Unit]\nRequires=t.socket\nAfter=t.socket",
        LISTENING,
        server="gunicorn",
    )
    bench.run("systemctl", "start", "t.socket", "t.service")
    assert start(bench, "t.socket", verb="restart") == 0


def test_order_missing(bench: Machine) -> None:
    other = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 1\n"
    put(bench, "order-missing", "sleeps", "Type=exec\n[Unit]\nRequires=t2.service", t2_service=other)

    bench.run("systemctl", "start", "--no-block", "t.service")

    wait_until(lambda: shown(bench, "ActiveState") == "active")
    assert shown(bench, "ActiveState", "t2.service") == "activating"


def test_network_not_awaited(bench: Machine) -> None:
    put(bench, "network-not-awaited", "sleeps", "Type=exec\n[Unit]\nAfter=network-online.target")

    start(bench)

    assert "network-online.target" not in shown(bench, "Wants")
    assert shown(bench, "ActiveState", "network-online.target") == "inactive"


def test_also_missing_and_not_installed(bench: Machine) -> None:
    install = "[Install]\nWantedBy=multi-user.target"
    put(
        bench,
        "also-missing",
        "sleeps",
        f"Type=exec\n{install}",
        f"{LISTENING}\n[Install]\nWantedBy=sockets.target",
        server="gunicorn",
    )
    bench.run("systemctl", "enable", "--runtime", "t.service")
    assert bench.run("systemctl", "is-enabled", "t.socket", check=False).stdout.strip() == "disabled"
    bench.run("systemctl", "disable", "--runtime", "t.service")

    put(bench, "socket-not-installed", "sleeps", "Type=exec", LISTENING, server="gunicorn")
    assert bench.run("systemctl", "is-enabled", "t.socket", check=False).stdout.strip() == "static"


def test_stopped_when_unneeded(bench: Machine) -> None:
    service = "Type=exec\n[Unit]\nStopWhenUnneeded=yes"
    put(bench, "stopped-when-unneeded", "sleeps", service, LISTENING, server="gunicorn")
    bench.run("systemctl", "start", "t.socket")
    since = time.time()

    connect(bench)

    # It is started and stopped until the start limit.
    wait_until(lambda: shown(bench, "Result", "t.socket") == "service-start-limit-hit")
    assert "Stopped t.service" in bench.journal("t.service", since=since)


def test_tcp_option_on_unix_socket(bench: Machine) -> None:
    put(
        bench,
        "tcp-option-on-unix-socket",
        "sleeps",
        "Type=exec",
        "ListenStream=/run/t.sock\nNoDelay=yes",
        server="gunicorn",
    )
    since = time.time()

    bench.run("systemctl", "start", "t.socket")

    if bench.systemd_version() <= 257:  # 262 ignores the line without a word
        wait_until(lambda: "TCP_NODELAY" in bench.journal("t.socket", since=since))


def test_socket_open_to_all(bench: Machine) -> None:
    put(bench, "socket-open-to-all", "sleeps", "Type=exec", "ListenStream=/run/t.sock", server="gunicorn")
    bench.run("systemctl", "start", "t.socket")

    script = "import socket; socket.socket(socket.AF_UNIX).connect('/run/t.sock')"
    bench.run("runuser", "-u", "nobody", "--", "python3", "-c", script)


def test_address_of_two_sockets(bench: Machine) -> None:
    other = f"[Socket]\n{LISTENING}\n[Install]\nWantedBy=sockets.target\n"
    put(
        bench,
        "address-of-two-sockets",
        "sleeps",
        "Type=exec",
        LISTENING,
        t2_socket=other,
        t2_service="[Service]\nExecStart=sleep 1\n",
    )
    bench.run("systemctl", "start", "t.socket")

    assert start(bench, "t2.socket") != 0


def test_socket_in_runtime_directory(bench: Machine) -> None:
    service, socket = "Type=exec\nRuntimeDirectory=t", "ListenStream=/run/t/t.sock"
    put(bench, "socket-in-runtime-directory", "sleeps", service, socket, server="gunicorn")
    bench.run("systemctl", "start", "t.socket", "t.service")
    bench.run("ls", "/run/t/t.sock")

    bench.run("systemctl", "restart", "t.service")

    assert bench.run("ls", "/run/t/t.sock", check=False).returncode != 0
    assert shown(bench, "ActiveState", "t.socket") == "active"


def test_shared_runtime_directory(bench: Machine) -> None:
    service = "Type=exec\nRuntimeDirectory=t"
    other = "[Service]\nType=exec\nExecStart=sleep 1000\nRuntimeDirectory=t\n"
    put(bench, "shared-runtime-directory", "sleeps", service, t2_service=other)
    bench.run("systemctl", "start", "t.service", "t2.service")
    bench.write("/run/t/control", "")

    bench.run("systemctl", "stop", "t2.service")

    assert bench.run("ls", "/run/t/control", check=False).returncode != 0
    assert shown(bench, "ActiveState") == "active"


def test_instances_share_directory(bench: Machine) -> None:
    unit = "[Service]\nType=exec\nExecStart=sleep 1000\nRuntimeDirectory=t\n"
    put(bench, "", "sleeps", "Type=exec", **{"t@_service": unit})
    bench.run("systemctl", "start", "t@1.service", "t@2.service")
    bench.run("ls", "-d", "/run/t")

    bench.run("systemctl", "stop", "t@2.service")

    assert bench.run("ls", "-d", "/run/t", check=False).returncode != 0


def test_private_network(bench: Machine) -> None:
    put(bench, "private-network", "listens", "Type=exec\nPrivateNetwork=yes")
    start(bench)
    assert not connect(bench)

    put(bench, "", "listens", "Type=exec")
    start(bench, verb="restart")
    wait_until(lambda: connect(bench))


@pytest.mark.parametrize("families", ["AF_INET AF_INET6", "AF_UNIX AF_INET AF_INET6"])
def test_notify_socket_forbidden(bench: Machine, families: str) -> None:
    service = f"Type=notify\nNotifyAccess=all\nTimeoutStartSec=1s\nRestrictAddressFamilies={families}"
    wrong = "AF_UNIX" not in families
    put(bench, "notify-socket-forbidden" if wrong else "", "ready", service, server="gunicorn")

    assert (start(bench) != 0) is wrong


def test_address_family_forbidden_and_port_needs_privilege(bench: Machine) -> None:
    put(bench, "address-family-forbidden", "listens", "Type=exec\nRestrictAddressFamilies=AF_UNIX")
    start(bench)
    wait_until(lambda: shown(bench, "Result") == "exit-code")

    command = "ExecStart=/opt/fake/uvicorn --port 80 t:app"
    put(bench, "port-needs-privilege", "listens-80", f"Type=exec\nUser=nobody\n{command}")
    since = time.time()
    start(bench)
    wait_until(lambda: "PermissionError" in bench.journal("t.service", since=since))


@pytest.mark.parametrize(
    ("rule", "lines", "status"),
    [
        ("environment-file-missing", "EnvironmentFile=/nowhere/env", "resources"),
        ("working-directory-missing", "WorkingDirectory=/nowhere", "200"),
        ("credential-missing", "LoadCredential=key:/nowhere/key", "243"),
        ("user-missing", "User=nosuch", "217"),
        ("user-missing", "Group=nosuch", "216"),
        ("program-missing", "ExecStart=/nowhere/uvicorn", "203"),
        ("program-out-of-reach", "ExecStart=/root/uvicorn\nProtectHome=yes", "203"),
        ("program-out-of-reach", "ExecStart=/opt/closed/uvicorn\nUser=nobody", "203"),
    ],
)
def test_a_missing_or_unreachable_file_fails_the_start(
    bench: Machine, rule: str, lines: str, status: str
) -> None:
    for path in ("/root/uvicorn", "/opt/closed/uvicorn"):
        bench.write(path, "#!/bin/sh\nexec sleep 1000\n", 0o755)
    bench.run("chmod", "700", "/opt/closed")
    put(bench, rule, "sleeps", f"Type=exec\n{lines}")

    assert start(bench) != 0

    found = shown(bench, "Result") if status == "resources" else shown(bench, "ExecMainStatus")
    assert found == status
    bench.run("rm", "-r", "/root/uvicorn", "/opt/closed")


def test_store_not_told(bench: Machine) -> None:
    put(bench, "", "env", "Type=exec\nFileDescriptorStoreMax=10", server="sockact")
    since = time.time()

    start(bench)

    told = "none" if bench.systemd_version() < 254 else "10"
    wait_until(lambda: f"fdstore={told}" in bench.journal("t.service", since=since))


def test_credentials_not_reloaded(bench: Machine) -> None:
    bench.write("/run/t.key", "old")
    service = "Type=exec\nLoadCredential=key:/run/t.key\nExecReload=/bin/true"
    put(bench, "credentials-not-reloaded", "sleeps", service, server="gunicorn")
    start(bench)
    bench.write("/run/t.key", "new")

    bench.run("systemctl", "reload", "t.service")

    assert bench.read("/run/credentials/t.service/key") == "old"


def test_reload_twice(bench: Machine) -> None:
    program = (
        "import sdnotify, signal, time\n"
        "say = sdnotify.SystemdNotifier().notify\n"
        "def reload(*_):\n"
        "    print('reloads', flush=True)\n"
        "    time.sleep(0.5)\n"  # until ExecReload= has ended: else systemd 259 sends no SIGHUP
        "    say(f'RELOADING=1\\nMONOTONIC_USEC={time.monotonic_ns() // 1000}')\n"
        "    say('READY=1')\n"
        "signal.signal(signal.SIGHUP, reload)\n"
        "say('READY=1')\n"
        "while True: signal.pause()\n"
    )
    put(
        bench,
        "reload-twice",
        "sleeps",
        "Type=notify-reload\nExecReload=/bin/kill -HUP $MAINPID",
        server="gunicorn",
    )
    bench.write("/opt/fake/gunicorn", f"#!/opt/app/venv/bin/python3\n{program}", 0o755)
    start(bench)
    if bench.systemd_version() < 253:  # which does not know notify-reload, and reloads once
        assert bench.show("t.service", "Type") == {"Type": "simple"}
        return
    since, asked = time.time(), itertools.count(1)

    def more_than_asked() -> bool:  # unless the second SIGHUP comes before the first one was handled
        bench.run("systemctl", "reload", "t.service")
        return bench.journal("t.service", since=since).count("]: reloads") > next(asked)

    wait_until(more_than_asked)


def test_environment_not_reloaded(bench: Machine) -> None:
    bench.write("/run/t.env", "VERSION=old\n")
    service = (
        "Type=exec\nEnvironmentFile=/run/t.env\nExecReload=/bin/true\nExecStart=/opt/fake/sockact run t:app"
    )
    put(bench, "environment-not-reloaded", "sleeps", service, server="sockact")
    start(bench)
    bench.write("/run/t.env", "VERSION=new\n")
    bench.run("systemctl", "reload", "t.service")

    variables = bench.run("cat", f"/proc/{shown(bench, 'MainPID')}/environ").stdout
    assert "VERSION=old" in variables


def test_stop_fails_during_reload(bench: Machine) -> None:
    put(bench, "", "sleeps", "Type=exec\nExecReload=/bin/sleep 1000")
    start(bench)
    bench.run("systemctl", "reload", "--no-block", "t.service")
    wait_until(lambda: shown(bench, "SubState") == "reload")

    bench.run("systemctl", "stop", "t.service")

    assert shown(bench, "ActiveState") == "failed"


# --- Which rules are confirmed


def test_at_least_half_of_the_rules_are_confirmed() -> None:
    source = (CHECKOUT / "tests/machine/check/test_confirmed.py").read_text()
    confirmed = {name for name in RULES if f'"{name}"' in source}

    assert len(confirmed) > len(RULES) // 2, sorted(RULES.keys() - confirmed)
