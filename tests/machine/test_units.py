"""The units as they are shipped: systemd understands them, and root trusts nobody's folder in them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import (
    ALONE,
    configure,
    get,
    install,
    main_pid,
    reload,
    wait_until,
    wheels,
)

UNITS = CHECKOUT / "units"
DEPLOY = "app-deploy.service"
INSTANCE = "app@8001"
FOLDER = "/etc/systemd/system"
INSTALLED = [file.name for file in UNITS.iterdir() if file.suffix in (".service", ".socket", ".path")]
# A template is looked at in one of its instances.
LOADED = [name.replace("app@", INSTANCE) for name in INSTALLED]
SERVICES = [name for name in LOADED if name.endswith(".service")]


@pytest.fixture
def shipped(app: Machine) -> Iterator[Machine]:
    """Give a machine on which all that is shipped is installed, but for the drop-in."""
    app.run("install", "units/settle", "/usr/local/sbin/sockact-settle")
    for name in INSTALLED:
        app.write(f"{FOLDER}/{name}", (UNITS / name).read_text())
    yield app
    app.run("systemctl", "stop", *LOADED)
    of_app = ("app.service", "app.socket")
    others = [f"{FOLDER}/{name}" for name in INSTALLED if name not in of_app]
    app.run("rm", "-rf", "/run/app-deploy", f"{FOLDER}/app@.service.d", f"{FOLDER}/{DEPLOY}.d", *others)


def add_tls(machine: Machine) -> None:
    for unit in ("app.service", "app@.service"):
        machine.write(f"{FOLDER}/{unit}.d/tls.conf", (UNITS / "app-tls.conf").read_text())
    machine.run("systemctl", "daemon-reload")


@pytest.mark.newest("tls")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_systemd_has_nothing_to_say_against_a_shipped_unit(shipped: Machine, tls: bool) -> None:
    shipped.run("systemctl", "daemon-reload")
    if tls:
        add_tls(shipped)
    said = shipped.run("systemd-analyze", "verify", "--man=no", *LOADED, check=False)

    # Of the distribution's own units it says what it likes.
    assert not [line for line in said.stderr.splitlines() if re.search(r"\bapp[@.-]", line)]
    assert said.returncode == 0


@pytest.mark.newest("app.service-plain")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("unit", SERVICES)
def test_the_exposure_of_each_service_is_below_one_and_a_half(
    shipped: Machine, unit: str, tls: bool
) -> None:
    shipped.run("systemctl", "daemon-reload")
    if tls:
        add_tls(shipped)
    said = shipped.run("systemd-analyze", "security", "--no-pager", unit).stdout

    (exposure,) = re.findall(rf"Overall exposure level for {re.escape(unit)}: ([\d.]+)", said)
    assert float(exposure) < 1.5, said


# --- TLS: who owns /run/app chooses nothing of what root does

ATTACK = """
import os, threading

NAMES = ("tls.crt", "tls.key", "tls.pem", "new")

def quietly(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        return
    if not str(arguments[-1]).startswith("/run/app/"):
        print("attack: has done", function.__name__, *arguments, flush=True)

def attack():
    while True:
        for name in NAMES:
            quietly(os.unlink, f"/run/app/{name}")
            quietly(os.symlink, "/etc/shadow", f"/run/app/{name}")
            quietly(os.symlink, "/etc/shadow", f"/run/app.tls/{name}.link")
            quietly(os.rename, f"/run/app.tls/{name}", f"/run/app.tls/{name}.away")
            quietly(os.chmod, f"/run/app.tls/{name}", 0o666)
        quietly(os.rename, "/run/app.tls", "/run/app.away")
        quietly(os.rename, "/run/app", "/run/app.own")
        quietly(os.chmod, "/run/app.tls", 0o777)

threading.Thread(target=attack, daemon=True).start()
"""

RELOADS = 12


def stat(machine: Machine, form: str, *paths: str) -> list[str]:
    return machine.run("stat", "-c", form, *paths).stdout.splitlines()


def own_group(machine: Machine) -> str:
    """Return the group of the service's main process."""
    status = machine.read(f"/proc/{main_pid(machine)}/status")
    return next(line.split()[1] for line in status.splitlines() if line.startswith("Gid:"))


def write_pair(machine: Machine, name: str) -> None:
    """Put a new pair where only root can read it."""
    machine.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", f"/CN={name}", "-keyout", "/etc/app/tls.key", "-out", "/etc/app/tls.crt"),
    )
    machine.run("chmod", "600", "/etc/app/tls.key", "/etc/app/tls.crt")


def presented(machine: Machine) -> str:
    """Return the name in the certificate that a new client sees."""
    command = (
        "openssl s_client -connect 127.0.0.1:8000 </dev/null 2>/dev/null | openssl x509 -noout -subject"
    )
    return machine.run("sh", "-c", command).stdout.strip().partition("CN")[2].strip(" =")


@pytest.fixture
def encrypted(shipped: Machine) -> Machine:
    """Give a machine that serves the load app with TLS, as shipped."""
    shipped.run("mkdir", "-p", "/etc/app")
    write_pair(shipped, "first")
    add_tls(shipped)
    configure(shipped, "--probation=0.1s")
    install(shipped, 1)
    shipped.run("systemctl", "start", "app.socket")
    return shipped


def test_the_owner_of_the_runtime_directory_chooses_nothing_of_what_root_writes(encrypted: Machine) -> None:
    kept = ("/etc/shadow", "/etc/app/tls.key", "/run")
    before, begin = stat(encrypted, "%n %a %u:%g", *kept), time.time()
    shadow = encrypted.read("/etc/shadow")
    install(encrypted, 1, ATTACK)
    assert presented(encrypted) == "first"

    for number in range(RELOADS):
        write_pair(encrypted, f"pair-{number}")
        reload(encrypted)
        assert presented(encrypted) == f"pair-{number}"

    assert stat(encrypted, "%n %a %u:%g", *kept) == before
    assert encrypted.read("/etc/shadow") == shadow
    assert "attack: has done" not in encrypted.journal("app.service", since=begin)
    assert stat(encrypted, "%F %a %U", "/run/app.tls", "/run/app.tls/tls.pem") == [
        "directory 750 root",
        "regular file 640 root",
    ]


def test_the_key_is_for_the_service_alone_and_goes_with_it(encrypted: Machine) -> None:
    assert presented(encrypted) == "first"
    (group,) = stat(encrypted, "%g", "/run/app.tls/tls.pem")
    assert group == own_group(encrypted) != "0"
    for user in ("nobody", "daemon"):
        as_user = ["runuser", "-u", user, "--", "cat", "/run/app.tls/tls.pem"]
        assert "Permission denied" in encrypted.run(*as_user, check=False).stderr

    encrypted.run("systemctl", "stop", "app.socket", "app.service")

    assert encrypted.run("ls", "/run/app.tls", check=False).returncode != 0


@pytest.mark.parametrize(
    "half",
    [
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /dev/null -out /etc/app/tls.crt",
        "openssl genpkey -algorithm rsa -out /etc/app/tls.key",
        "openssl genpkey -algorithm rsa -aes256 -pass pass:secret -out /etc/app/tls.key",
        "truncate -s 100 /etc/app/tls.crt",
        "truncate -s 0 /etc/app/tls.key",
        "truncate -s 0 /etc/app/tls.key /etc/app/tls.crt",
        "rm /etc/app/tls.key",
        "rm /etc/app/tls.crt",
    ],
)
def test_a_pair_that_a_reload_refuses_is_none_for_a_worker_that_starts_later(
    encrypted: Machine, half: str
) -> None:
    assert presented(encrypted) == "first"
    encrypted.run("sh", "-c", half)
    refused = reload(encrypted, check=False)
    worker = get_pid(encrypted)

    encrypted.run("kill", "-9", worker)
    wait_until(lambda: get_pid(encrypted) not in ("", worker))

    assert refused.returncode != 0
    assert presented(encrypted) == "first"
    write_pair(encrypted, "second")
    reload(encrypted)
    assert presented(encrypted) == "second"


def get_pid(machine: Machine) -> str:
    """Return the PID of the worker that answers, '' if none does."""
    asked = machine.run("curl", "-sk", "https://127.0.0.1:8000/", check=False)
    found = re.search(r'"pid": (\d+)', asked.stdout)
    return found[1] if found else ""


def test_an_instance_has_a_certificate_of_its_own_for_its_reloads(encrypted: Machine) -> None:
    encrypted.run("systemctl", "start", f"{INSTANCE}.socket", f"{INSTANCE}.service")
    write_pair(encrypted, "second")
    before = encrypted.read("/run/app@8001.tls/tls.pem")

    encrypted.run("systemctl", "reload", f"{INSTANCE}.service")

    assert encrypted.read("/run/app@8001.tls/tls.pem") != before


def test_a_service_may_have_several_runtime_directories(encrypted: Machine) -> None:
    drop_in = "[Service]\nRuntimeDirectory=app app-other\n"
    encrypted.write(f"{FOLDER}/app.service.d/more.conf", drop_in)
    encrypted.run("systemctl", "daemon-reload")

    assert presented(encrypted) == "first"
    (group,) = stat(encrypted, "%g", "/run/app.tls/tls.pem")
    assert group == own_group(encrypted) != "0"


PROGRAMS = ("cat", "chgrp", "env", "mkdir", "mv", "openssl", "rm", "sh")


def test_the_apps_environment_names_no_program_that_root_runs(encrypted: Machine) -> None:
    for name in PROGRAMS:
        encrypted.write(f"/opt/app/venv/bin/{name}", "#!/bin/bash\necho $EUID $0 >>/tmp/ran\n", 0o755)
    variables = "PATH=/opt/app/venv/bin:/usr/bin:/bin OPENSSL_CONF=/opt/app/none BASH_ENV=/opt/app/env"
    encrypted.write(f"{FOLDER}/app.service.d/path.conf", f"[Service]\nEnvironment={variables}\n")
    encrypted.write("/opt/app/env", "echo $EUID $0 >>/tmp/ran\n")
    encrypted.run("systemctl", "daemon-reload")
    assert presented(encrypted) == "first"
    write_pair(encrypted, "second")

    reload(encrypted)

    assert presented(encrypted) == "second"
    encrypted.run("systemctl", "stop", "app.service")
    assert encrypted.run("cat", "/tmp/ran", check=False).stdout == ""
    encrypted.run("rm", *(f"/opt/app/venv/bin/{name}" for name in PROGRAMS))


LIBRARY = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    if (getuid() == 0) close(open("/root/loaded", O_CREAT | O_WRONLY, 0600));
}
"""
"""A library of the deploy user's; where root loads it, it can do anything."""


@pytest.mark.parametrize("unset", [True, False])
def test_an_environment_file_of_the_deploy_user_loads_nothing_into_what_root_runs(
    encrypted: Machine, unset: bool
) -> None:
    encrypted.write("/opt/app/library.c", LIBRARY)
    encrypted.run("gcc", "-shared", "-fPIC", "-o", "/opt/app/library.so", "/opt/app/library.c")
    encrypted.write("/opt/app/env", "LD_PRELOAD=/opt/app/library.so\n")
    more = "" if unset else "UnsetEnvironment=\n"
    encrypted.write(f"{FOLDER}/app.service.d/env.conf", f"[Service]\nEnvironmentFile=/opt/app/env\n{more}")
    encrypted.run("systemctl", "daemon-reload")

    assert presented(encrypted) == "first"
    reload(encrypted)
    encrypted.run("systemctl", "restart", "app.service")
    encrypted.run("systemctl", "stop", "app.socket", "app.service")

    loaded = encrypted.run("rm", "/root/loaded", check=False).returncode == 0
    assert loaded is not unset  # the line keeps it away, and nothing else


# --- /opt/app of somebody else

PIP = "/opt/app/venv/bin/pip"
SPY = '#!/bin/sh\nid -u >>/tmp/ran\nexec "$0.real" "$@"\n'


@pytest.fixture
def deploys(app: Machine) -> Iterator[Machine]:
    """Give a machine with a user who owns nothing yet; who runs pip leaves a trace."""
    app.run("useradd", "deploy")
    app.run("mv", PIP, f"{PIP}.real")
    app.write(PIP, SPY, 0o755)
    yield app
    app.run("chown", "-R", "root:", "/opt/app")
    app.run("mv", f"{PIP}.real", PIP)
    app.run("sh", "-c", "rm -f /tmp/ran; userdel deploy")


# What is done to /opt in here is soon forgotten. A copy without libraries, no overlay: the kernel stacks
# two of them at most, and the machine's root is one, maybe on that of a container in which the tests run.
COPY = """
mount -t tmpfs none /mnt; mkdir -p /mnt/opt/app/venv
cp -a /opt/app/venv/bin /opt/app/venv/pyvenv.cfg /mnt/opt/app/venv
mount --bind /mnt/opt /opt
"""
TO_OTHERS = [
    "chown deploy: /opt/app",
    "chown -R deploy: /opt/app",
    "chown deploy: /opt/app/venv",
    "chown deploy: /opt/app/venv/bin",
    "chown deploy: /opt/app/venv/bin/pip",
    "chown -h deploy: /opt/app/venv/bin/python3",
    "chmod g+w /opt/app",
    "chmod o+w /opt/app/venv/bin/pip",
    "chmod 1777 /opt",
    "mv /opt/app /mnt/app && chown deploy: /mnt/app && ln -s /mnt/app /opt/app",
    "mv /opt/app/venv /mnt/venv && chown -R deploy: /mnt/venv && ln -s /mnt/venv /opt/app/venv",
    "rm -r /opt/app/venv && ln -s /etc/venv /opt/app/venv",
]


@pytest.mark.parametrize("command", TO_OTHERS)
def test_root_installs_nothing_and_runs_nothing_where_others_may_write(
    deploys: Machine, command: str
) -> None:
    script = f"{COPY}{command}\nstatus=0; {UNITS}/provision app || status=$?"
    left = "for trace in /tmp/ran /opt/app/app.py /etc/venv; do [ ! -e $trace ] || echo $trace; done"
    refused = deploys.run("unshare", "-m", "sh", "-euc", f"{script}\n{left}; exit $status", check=False)

    assert (refused.returncode, refused.stdout) == (77, "")
    assert "root installs and runs only files that no other user may change" in refused.stderr
    assert "docs/deploy.md, As whom" in refused.stderr


def test_root_installs_where_only_root_may_write_and_through_no_link(deploys: Machine) -> None:
    motd = deploys.read("/etc/motd")
    deploys.run("rm", "/opt/app/venv/.wheels")
    deploys.run("ln", "-sf", "/etc/motd", "/opt/app/app.py")
    deploys.run(f"{UNITS}/provision", "app")

    assert set(deploys.read("/tmp/ran").split()) == {"0"}
    assert deploys.read("/etc/motd") == motd
    assert "VERSION" in deploys.read("/opt/app/app.py")


AS_WHOM = (CHECKOUT / "docs/deploy.md").read_text().partition("## As whom")[2].partition("\n## ")[0]
CHECK = re.findall(r"    (systemd-run .*\n +.*)\n", AS_WHOM)[0]
AS_DEPLOY = re.findall(r"    (runuser .*) install ", AS_WHOM)[0]
OWN = re.findall(r"    (/usr/bin/python3 .*\n.*\n.*)\n", AS_WHOM)[0]


def test_the_check_in_the_documentation_tries_code_as_nobody_in_particular(deploys: Machine) -> None:
    install(deploys, 1, 'import os; print("uid", os.getuid()); open("/opt/app/releases/43/x", "w")')
    deploys.run("sh", "-c", "mkdir -p /opt/app/releases/43; mv /opt/app/app.py /opt/app/releases/43")
    refused = deploys.run("sh", "-c", CHECK, check=False)

    assert refused.returncode == 1
    assert "Read-only file system" in refused.stderr
    assert int(re.findall(r"uid (\d+)", refused.stdout)[0]) > 60000
    install(deploys, 2)
    deploys.run("sh", "-c", "mv /opt/app/app.py /opt/app/releases/43")
    assert "started as asgi" in deploys.run("sh", "-c", CHECK).stdout


def test_the_commands_in_the_documentation_run_as_whom_they_name(deploys: Machine) -> None:
    deploys.run("chown", "-R", "deploy:", "/opt/app")
    deploys.run("sh", "-c", "touch /tmp/ran; chmod 666 /tmp/ran")
    deploys.run("sh", "-c", f"{AS_DEPLOY} --version")
    deploy = deploys.run("id", "-u", "deploy").stdout.strip()
    assert deploys.read("/tmp/ran").split() == [deploy]

    house = wheels(deploys)
    own = OWN.replace("install", f"install --no-index --find-links {house}")
    deploys.run("sh", "-euc", own.replace("/path/to/this/checkout", f"{house}/sockact-*.whl"))
    deploys.run("systemctl", "start", "app.socket", "app.service")
    answered = deploys.run("/usr/local/bin/sockact", "status", "app")

    assert "main pid" in answered.stdout
    assert deploys.read("/tmp/ran").split() == [deploy]
    deploys.run("rm", "-rf", "/usr/local/lib/sockact", "/usr/local/bin/sockact")


# --- app-deploy.service

NO_RELEASE = {
    "/": "which contains it",
    "/proc": "on another filesystem",
    "/run": "on another filesystem",
    "current": "a loop of symbolic links",
    "fifo": "found a fifo",
    "/usr": "more than 300 files and folders",
}


@pytest.fixture
def watched(shipped: Machine) -> Iterator[Machine]:
    """Give a machine that serves a release behind a link of which a user disposes."""
    shipped.run("useradd", "deploy")
    install(shipped, 1)
    shipped.run("sh", "-c", "mkdir -p /opt/app/releases/1; mv /opt/app/app.py /opt/app/releases/1")
    shipped.run("ln", "-s", "releases/1", "/opt/app/current")
    shipped.run("mkfifo", "/opt/app/fifo")
    shipped.run("chown", "-Rh", "deploy:", "/opt/app/releases", "/opt/app/current", "/opt/app/fifo")
    shipped.run("chown", "deploy:", "/opt/app")
    configure(shipped, "--chdir=/opt/app/current", "--probation=0.1s")
    shipped.write(f"{FOLDER}/{DEPLOY}.d/test.conf", "[Service]\nEnvironment=SETTLE_ENTRIES=300\n")
    shipped.run("systemctl", "daemon-reload")
    shipped.run("systemctl", "start", "app.socket", "app.service")
    shipped.run("systemctl", "start", DEPLOY)
    yield shipped
    shipped.run("systemctl", "stop", "app-deploy.path", DEPLOY)
    shipped.run("chown", "-R", "root:", "/opt/app")
    shipped.run("userdel", "deploy")


@pytest.mark.parametrize("target", NO_RELEASE)
def test_a_link_to_no_release_fails_the_deploy_and_reloads_nothing(watched: Machine, target: str) -> None:
    begin = time.time()
    watched.run("systemctl", "start", "app-deploy.path")
    switch = f"ln -sfn {target} /opt/app/new; mv -T /opt/app/new /opt/app/current"
    watched.run("runuser", "-u", "deploy", "--", "sh", "-c", switch)
    shown = ("ActiveState", "Result", "ExecMainStatus")
    wait_until(lambda: watched.show(DEPLOY, "ActiveState")["ActiveState"] == "failed")

    assert watched.show(DEPLOY, *shown) == {
        "ActiveState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "65",
    }
    assert re.search(
        f"settle: refused: /opt/app/current.*{NO_RELEASE[target]}|refused: .*{NO_RELEASE[target]}.*",
        watched.journal(DEPLOY, since=begin),
    )
    assert "phase=reloading" not in watched.journal("app.service", since=begin)
    assert get(watched)["version"] == "1"


def test_a_loop_of_changes_is_no_loop_of_starts(watched: Machine) -> None:
    watched.run("systemctl", "start", "app-deploy.path")
    begin = time.time()
    change = "ln -sfn / /opt/app/current; for i in $(seq 60); do touch /opt/app/x$i; sleep 0.1; done"
    watched.run("runuser", "-u", "deploy", "--", "sh", "-c", change)

    starts = watched.journal(DEPLOY, since=begin).count(f"Starting {DEPLOY}")
    assert 1 <= starts <= 2 + (time.time() - begin) / 2


def test_a_release_that_not_everybody_may_read_is_noticed_in_the_sandbox(watched: Machine) -> None:
    watched.run("runuser", "-u", "deploy", "--", "sh", "-c", "mkdir -m 700 /opt/app/releases/1/private")
    watched.run("systemctl", "start", DEPLOY)
    begin = time.time()
    watched.run("runuser", "-u", "deploy", "--", "touch", "/opt/app/releases/1/private/new")
    watched.run("systemctl", "start", DEPLOY)

    assert watched.journal("app.service", since=begin).count("phase=reloading") == 1


# --- FileDescriptorStoreMax= without Environment=FDSTORE=

SAID = "found no FDSTORE in the environment, but FileDescriptorStoreMax=4096 in the unit"


@pytest.mark.parametrize("alone", [False, True], ids=["supervised", "alone"])
def test_a_store_that_systemd_does_not_tell_of_is_said_once_at_each_start(
    app: Machine, alone: bool
) -> None:
    unit = app.read(f"{FOLDER}/app.service")
    app.write(f"{FOLDER}/app.service", unit.replace("\nEnvironment=FDSTORE=4096\n", "\n"))
    configure(app, "--probation=0.1s", service=ALONE if alone else "")
    install(app, 1)
    begin = time.time()
    app.run("systemctl", "start", "app.socket", "app.service")
    reload(app)
    wait_until(lambda: get(app)["version"] == "1")
    journal = app.journal("app.service", since=begin)

    silent = app.systemd_version() >= 254
    assert journal.count(SAID) == (0 if silent else 1), journal
    assert silent or "expected Environment=FDSTORE=4096 (systemd before 254" in journal


@pytest.mark.parametrize(
    "lines", ["", "FileDescriptorStoreMax=0\nUnsetEnvironment=FDSTORE"], ids=["shipped", "no store"]
)
def test_a_unit_of_which_both_lines_say_the_same_is_not_nagged(app: Machine, lines: str) -> None:
    configure(app, service=lines)
    install(app, 1)
    begin = time.time()
    app.run("systemctl", "start", "app.socket", "app.service")

    assert get(app)["version"] == "1"
    assert "FDSTORE" not in app.journal("app.service", since=begin)
