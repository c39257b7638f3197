"""Deploy by file: units/app-deploy.path reloads the service once, when a release has settled."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import LIMIT, configure, get, load_app, main_pid, wait_until

FEW = ("one-shot:2@20", "persistent:2@10")
PATH, DEPLOY = UNITS = ("app-deploy.path", "app-deploy.service")
FINE = {"ActiveState": "inactive", "Result": "success"}
# Not ready before the test has opened the gate.
GATED = """
import os
async def _lifespan(receive, send, ungated=_lifespan):
    while not os.path.exists("/opt/app/releases/gate"):
        await asyncio.sleep(0.02)
    await ungated(receive, send)
"""


@pytest.fixture
def deployed(app: Machine) -> Iterator[Machine]:
    """Give a machine whose service serves the release behind /opt/app/current, which is watched."""
    app.run("install", "units/settle", "/usr/local/sbin/sockact-settle")
    for unit in UNITS:
        app.run("install", "-m", "644", f"units/{unit}", f"/etc/systemd/system/{unit}")
    configure(app, "--chdir=/opt/app/current", "--probation=0.1s")
    release(app, 1)
    switch(app, 1)
    app.run("systemctl", "start", "app.socket", "app.service", PATH)
    yield app
    app.run("systemctl", "stop", *UNITS)
    files = [f"/etc/systemd/system/{unit}{drop_in}" for unit in UNITS for drop_in in ("", ".d")]
    app.run("rm", "-rf", "/run/app-deploy", *files)


def release(machine: Machine, version: int, *lines: str) -> None:
    """Put a release beside the others; `lines` are added to its code."""
    machine.write(f"/opt/app/releases/{version}/app.py", load_app(version, *lines))


def switch(machine: Machine, version: int) -> None:
    """Point the link to a release, in one step."""
    machine.run("ln", "-s", f"releases/{version}", "/opt/app/new")
    machine.run("mv", "-T", "/opt/app/new", "/opt/app/current")


def deploys(machine: Machine, since: float, how: str = "Starting") -> int:
    """Return how many deploys have begun; or, with another word of systemd's, ended."""
    return machine.journal(DEPLOY, since=since).count(f"{how} {DEPLOY}")


def reloads(machine: Machine, since: float) -> int:
    """Return how many reloads have begun; the workers are told of none."""
    return machine.journal("app.service", since=since).count("phase=reloading")


def wait_over(machine: Machine, since: float) -> dict[str, str]:
    """Wait until a deploy has begun since then, and none is under way; return how the last one ended."""
    wait_until(lambda: deploys(machine, since) > 0)
    return wait_quiet(machine)


def wait_quiet(machine: Machine) -> dict[str, str]:
    """Wait until no deploy is under way; return how the last one ended."""
    wait_until(lambda: machine.show(DEPLOY, "ActiveState")["ActiveState"] in ("inactive", "failed"))
    return machine.show(DEPLOY, "ActiveState", "Result")


def wait_served(machine: Machine, version: int) -> None:
    wait_until(lambda: get(machine)["version"] == str(version))


def test_a_switched_link_is_one_reload_each_time(deployed: Machine) -> None:
    pid, before = main_pid(deployed), time.time()
    with load(deployed, *FEW) as clients:
        for version in (2, 3):
            release(deployed, version)
            switched = time.time()
            switch(deployed, version)
            wait_served(deployed, version)
            assert wait_over(deployed, switched) == FINE
            assert reloads(deployed, before) == version - 1
        report = clients.report()

    assert_nothing_lost(report)
    assert main_pid(deployed) == pid


BURST = """
import os, sys
code = sys.stdin.read()
for number in range(2, 1002):
    with open("/opt/app/new.py", "w") as file:
        file.write(code.replace('VERSION = "1"', f'VERSION = "{number}"'))
    os.rename("/opt/app/new.py", "/opt/app/app.py")
"""


def test_a_burst_of_changes_is_one_reload_and_the_watch_goes_on(deployed: Machine) -> None:
    configure(deployed, "--probation=0.1s")  # the file, without a link
    before = time.time()
    deployed.write("/opt/app/app.py", load_app(1))
    deployed.run("systemctl", "restart", "app.service")
    wait_over(deployed, before)
    before = time.time()

    deployed.run("python3", "-c", BURST, input=load_app(1))

    wait_served(deployed, 1001)
    assert wait_over(deployed, before) == FINE
    assert reloads(deployed, before) == 1
    deployed.write("/opt/app/app.py", load_app(1002))
    wait_served(deployed, 1002)
    assert deployed.show(PATH, "ActiveState", "Result") == {"ActiveState": "active", "Result": "success"}


GROWING = "/opt/app/growing"
# In the place of what settle sleeps by: the file grows meanwhile, and at last waits for the test.
SLEEP = f"""\
#!/bin/bash
pieces=({GROWING}/piece.*)
if [ -e "${{pieces[0]}}" ]; then
  cat "${{pieces[0]}}" >>/opt/app/app.py
  exec rm "${{pieces[0]}}"
fi
while [ ! -e {GROWING}/gate ]; do /bin/sleep 0.02; done
exec /bin/sleep "$@"
"""
GROWS = f"[Service]\nEnvironment=PATH={GROWING}:/usr/sbin:/usr/bin:/sbin:/bin\nReadWritePaths=/opt/app\n"


def test_a_file_that_still_grows_is_not_taken_for_a_release(deployed: Machine) -> None:
    """It grows whenever somebody sleeps to see whether it does: no clock is in this."""
    configure(deployed, "--probation=0.1s")
    before = time.time()
    deployed.write("/opt/app/app.py", load_app(1))
    deployed.run("systemctl", "restart", "app.service")
    wait_over(deployed, before)
    code = load_app(2)
    step = len(code) // 12 + 1
    for number, begin in enumerate(range(0, len(code), step)):
        deployed.write(f"{GROWING}/piece.{number:02}", code[begin : begin + step])
    deployed.write(f"{GROWING}/sleep", SLEEP, mode=0o755)
    wait_quiet(deployed)
    deployed.write(f"/etc/systemd/system/{DEPLOY}.d/grows.conf", GROWS)
    deployed.run("systemctl", "daemon-reload")
    before = time.time()
    with load(deployed, *FEW) as clients:
        deployed.run("truncate", "--size=0", "/opt/app/app.py")
        wait_until(lambda: "piece" not in deployed.run("ls", GROWING).stdout)
        assert get(deployed)["version"] == "1"
        deployed.write(f"{GROWING}/gate", "")
        wait_served(deployed, 2)
        report = clients.report()

    assert_nothing_lost(report)
    assert wait_over(deployed, before) == FINE
    assert reloads(deployed, before) == 1


def test_a_broken_release_is_refused_and_the_next_one_is_served(deployed: Machine) -> None:
    with load(deployed, *FEW) as clients:
        before = time.time()
        release(deployed, 2, "x = (")
        switch(deployed, 2)
        assert wait_over(deployed, before) == {"ActiveState": "failed", "Result": "exit-code"}
        assert "SyntaxError" in deployed.show("app.service", "StatusText")["StatusText"]
        assert get(deployed)["version"] == "1"

        release(deployed, 3)
        switch(deployed, 3)
        wait_served(deployed, 3)
        report = clients.report()

    assert_nothing_lost(report)
    # Whether the clients have met the last one, too, is a matter of moments.
    assert {seen["version"] for seen in report["seen"]} in ({"1"}, {"1", "3"})


def test_a_release_that_comes_during_the_reload_of_another_is_served_too(deployed: Machine) -> None:
    before = time.time()
    release(deployed, 2, GATED)
    switch(deployed, 2)
    wait_until(lambda: reloads(deployed, before) == 1)
    release(deployed, 3)
    switch(deployed, 3)

    deployed.write("/opt/app/releases/gate", "")

    wait_served(deployed, 3)
    assert wait_over(deployed, before) == FINE


def test_a_release_that_comes_during_a_start_with_the_one_before_is_served(deployed: Machine) -> None:
    begin_start(deployed, 2)
    before = time.time()
    release(deployed, 3)
    switch(deployed, 3)
    wait_until(lambda: "app.service is starting" in deployed.journal(DEPLOY, since=before))

    deployed.write("/opt/app/releases/gate", "")

    wait_served(deployed, 3)
    assert wait_over(deployed, before) == FINE


def begin_start(machine: Machine, version: int) -> None:
    """Begin a start with a release that waits at the gate; the release was read.

    Its own deploy, which finds nothing to reload, is over: one that comes is that of the next release.
    """
    machine.run("systemctl", "stop", "app.service")
    before = time.time()
    release(machine, version, GATED, f'print("read: {version}", flush=True)')
    switch(machine, version)
    if machine.show(PATH, "ActiveState")["ActiveState"] == "active":
        wait_over(machine, before)
    before = time.time()
    machine.run("systemctl", "start", "--no-block", "app.service")
    wait_until(lambda: f"read: {version}" in machine.journal("app.service", since=before))


def test_systemd_takes_a_reload_during_a_start_for_a_part_of_it(deployed: Machine) -> None:
    deployed.run("systemctl", "stop", PATH)
    begin_start(deployed, 2)
    before = time.time()
    deployed.run("systemctl", "reload", "--no-block", "app.service")

    deployed.write("/opt/app/releases/gate", "")

    wait_until(lambda: not deployed.run("systemctl", "list-jobs", "--no-legend", "app.service").stdout)
    assert deployed.show("app.service", "ActiveState")["ActiveState"] == "active"
    assert reloads(deployed, before) == 0


@pytest.mark.parametrize(
    "command", ["systemctl start app && systemctl reload app", "/opt/app/venv/bin/sockact reload app"]
)
def test_a_reload_after_a_start_that_is_waited_for_serves_the_newest_release(
    deployed: Machine, command: str
) -> None:
    deployed.run("systemctl", "stop", PATH)
    begin_start(deployed, 2)
    release(deployed, 3)
    switch(deployed, 3)
    deploying = deployed.popen("sh", "-c", command)

    deployed.write("/opt/app/releases/gate", "")

    deploying.communicate(timeout=LIMIT)
    assert deploying.returncode == 0
    wait_served(deployed, 3)


def test_what_else_changes_in_the_folder_is_no_deploy(deployed: Machine) -> None:
    before = time.time()
    release(deployed, 2)
    switch(deployed, 2)
    wait_served(deployed, 2)
    wait_over(deployed, before)
    before = time.time()

    deployed.write("/opt/app/README", "nothing to do with it\n")

    assert wait_over(deployed, before) == FINE
    assert reloads(deployed, before) == 0


def test_a_service_that_does_not_run_is_not_started_for_a_deploy(deployed: Machine) -> None:
    deployed.run("systemctl", "stop", "app.service")
    before = time.time()
    release(deployed, 2)
    switch(deployed, 2)

    assert wait_over(deployed, before) == FINE
    assert deployed.show("app.service", "ActiveState")["ActiveState"] == "inactive"
    assert get(deployed)["version"] == "2"


HOW_TO = (CHECKOUT / "docs/deploy.md").read_text()
TIMER, FETCH = re.findall(r"```ini\n(.*?)```", HOW_TO, re.DOTALL)
SCRIPT = re.findall(r"```sh\n(.*?)```", HOW_TO, re.DOTALL)[0]
FETCHING = {
    "/etc/systemd/system/app-fetch.timer": TIMER,
    "/etc/systemd/system/app-fetch.service": FETCH.replace("https://example.org", "http://127.0.0.1:9000"),
    "/usr/local/bin/app-fetch": SCRIPT,
}


@pytest.fixture
def fetching(deployed: Machine) -> Iterator[Machine]:
    """Give a machine that has what docs/deploy.md says, and a web server from which releases come."""
    deployed.run("useradd", "deploy")
    deployed.run("chown", "deploy:", "/opt/app", "/opt/app/releases")
    for path, text in FETCHING.items():
        deployed.write(path, text, mode=0o755 if path.startswith("/usr") else 0o644)
    deployed.run("systemctl", "daemon-reload")
    deployed.run("mkdir", "-p", "/srv/web")
    server = deployed.popen(
        "python3", "-m", "http.server", "--directory=/srv/web", "--bind=127.0.0.1", "9000"
    )
    wait_until(lambda: ":9000 " in deployed.run("ss", "--no-header", "-ltn").stdout)
    yield deployed
    server.kill()
    server.communicate()
    deployed.run("chown", "root:", "/opt/app", "/opt/app/releases")
    deployed.run("rm", "-rf", "/srv/web", *FETCHING)
    deployed.run("userdel", "deploy")


def publish(machine: Machine, version: int, *lines: str) -> None:
    """Offer a release for download; each is a day newer than the one before."""
    machine.write("/srv/app.py", load_app(version, *lines))
    machine.run("tar", "-C", "/srv", "-cf", "/srv/web/app.tar", "app.py")
    machine.run("touch", "-d", f"2024-01-{version:02} 12:00 UTC", "/srv/web/app.tar")


def test_the_fetch_in_the_documentation_deploys_what_is_new_and_passes_the_check(fetching: Machine) -> None:
    publish(fetching, 2)
    fetching.run("systemctl", "start", "app-fetch.service")
    wait_served(fetching, 2)
    wait_quiet(fetching)  # the deploy may have begun before: the folder has got another owner
    before = time.time()

    fetching.run("systemctl", "start", "app-fetch.service")  # nothing new
    publish(fetching, 3, "x = (")
    link = fetching.run("readlink", "/opt/app/current").stdout
    broken = fetching.run("systemctl", "start", "app-fetch.service", check=False)

    assert broken.returncode != 0
    assert "SyntaxError" in fetching.journal("app-fetch.service", since=before)
    assert fetching.run("readlink", "/opt/app/current").stdout == link
    wait_over(fetching, before)
    assert reloads(fetching, before) == 0
    publish(fetching, 4)
    fetching.run("systemctl", "start", "app-fetch.service")
    wait_served(fetching, 4)


def test_systemd_understands_the_timer_and_the_units(fetching: Machine) -> None:
    for unit in ("app-fetch.timer", "app-deploy.path", "app-deploy.service", "app-fetch.service"):
        said = fetching.run(
            "systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}", check=False
        )
        assert unit not in said.stderr, said.stderr


def rollback(machine: Machine, *arguments: str, user: str = "root") -> tuple[int, str]:
    """Go back to the release before, as a user; return the exit status and what was printed."""
    command = ("runuser", "-u", user, "--", "/opt/app/venv/bin/sockact", "rollback", "app", *arguments)
    done = machine.run(*command, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_rollback_serves_the_release_before_and_loses_nothing(deployed: Machine) -> None:
    deployed.run("systemctl", "stop", PATH)
    release(deployed, 2)
    switch(deployed, 2)
    deployed.run("systemctl", "reload", "app.service")
    with load(deployed, *FEW) as clients:
        assert rollback(deployed, user="nobody")[0] == 64
        assert get(deployed)["version"] == "2"

        status, said = rollback(deployed)
        assert status == 0, said
        assert said.startswith("/opt/app/current leads to releases/1, not to releases/2: gen 3 is ready")
        assert get(deployed)["version"] == "1"
        assert rollback(deployed) == (
            64,
            "sockact: there is no release before 1 by its name: releases has 2; choose one by --to\n",
        )
        report = clients.report()

    assert_nothing_lost(report)


def test_a_rollback_that_is_refused_leaves_the_link_where_it_was(deployed: Machine) -> None:
    deployed.run("systemctl", "stop", PATH)
    release(deployed, 2)
    switch(deployed, 2)
    deployed.run("systemctl", "reload", "app.service")
    release(deployed, 1, "x = (")

    status, said = rollback(deployed)

    assert status == 1
    assert re.match(r"reload failed: .*SyntaxError.*; /opt/app/current leads to releases/2 again", said)
    assert deployed.run("readlink", "/opt/app/current").stdout == "releases/2\n"
    assert get(deployed)["version"] == "2"
