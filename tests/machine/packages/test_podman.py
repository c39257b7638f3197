"""units/Containerfile and the units of `--quadlet`, with the real podman: no deploy loses anybody.

A machine has no registry and no network. So the base image is the machine's own system, with all packages
that the Containerfile installs, and an `apt-get` that has nothing to do; wheels are those of the checkout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine, boot
from tests.support.machine.roots import CHECKOUT, prepare, root_for
from tests.support.machine.service import get, load_app, tell, wait_until, wheels

KNOWS_QUADLETS = pytest.mark.parametrize("suite", ["trixie"], indirect=True)
"""Debian 12's podman does not."""

BUILD = "podman build --quiet --network=none --build-arg BASE=localhost/debian"
# What a machine, which is a container itself, may not do.
SETTINGS = """
[containers]
keyring = false
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
# What is mounted is no part of it, and the rest is neither needed by Python nor by pip.
IMPORT = """
printf '#!/bin/sh\\n' >/run/apt-get; chmod +x /run/apt-get
tar --create --directory=/ --exclude=./usr/lib/x86_64-linux-gnu/perl* \\
    ./bin ./etc ./lib ./lib64 ./usr/bin ./usr/include ./usr/lib ./usr/lib64 ./usr/share/python-wheels |
  podman import --quiet --change ENV=PIP_NO_INDEX=1 - localhost/bare
printf 'FROM localhost/bare\\nCOPY apt-get /usr/bin/apt-get\\nRUN mkdir -m 1777 /tmp\\n' >/run/Base
podman build --quiet --network=none --tag localhost/debian --file /run/Base /run
"""
# As podman's guide has it for what gets its sockets; and its own groups are what a machine may not make.
CONTAINER = "[Container]\nNetwork=none\nCgroupsMode=disabled\n"
CONNECTS = ("bash", "-c", "</dev/tcp/127.0.0.1/8000")


@pytest.fixture(scope="module")
def machine(suite: str) -> Iterator[Machine]:
    root = root_for(suite)
    prepare(root, "podman")
    with boot(root, f"{suite}-podman") as booted:
        booted.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/containers")  # no overlay on an overlay
        booted.write("/etc/containers/containers.conf", SETTINGS)
        booted.run("bash", "-euc", IMPORT, timeout=300)
        booted.run("mkdir", "-p", "/opt/shop/wheels")
        booted.run("sh", "-euc", f"cp {wheels(booted)}/*.whl /opt/shop/wheels")
        yield booted


def build(machine: Machine, version: int) -> None:
    """Build the image with a version of the load app."""
    machine.write("/opt/shop/app.py", load_app(version))
    file = f"{CHECKOUT}/units/Containerfile"
    machine.run("sh", "-euc", f"{BUILD} --tag localhost/shop --file {file} /opt/shop", timeout=300)


def deploy(machine: Machine) -> None:
    """Build the image, and install the units as docs/how-to/containers.md does."""
    machine.run("mkdir", "-p", "/etc/containers/systemd/shop.container.d")
    build(machine, 1)
    units = ("--name", "shop", "--listen", "127.0.0.1:8000", "--chdir", "/app", "--venv", "/venv")
    written = ("--quadlet", "localhost/shop", "--output", "/opt/units")
    command = (
        "run",
        "--rm",
        "--network=none",
        "--volume=/opt:/opt",
        "--user=0",
        "localhost/shop",
        "sockact",
    )
    machine.run("podman", *command, "units", "app:app", *units, *written)
    machine.run("cp", "/opt/units/shop.socket", "/etc/systemd/system")
    machine.run("cp", "/opt/units/shop.container", "/etc/containers/systemd")
    machine.write("/etc/containers/systemd/shop.container.d/test.conf", CONTAINER)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "shop.socket")


@KNOWS_QUADLETS
def test_a_container_is_reloaded_and_replaced_under_load(machine: Machine) -> None:
    deploy(machine)
    assert get(machine)["version"] == "1"
    wait_until(lambda: machine.show("shop.service", "ActiveState")["ActiveState"] == "active")

    with load(machine, "one-shot:4@20", "persistent:4@10") as clients:
        machine.run("systemctl", "reload", "shop.service")
        build(machine, 2)
        machine.run("systemctl", "restart", "shop.service")
        assert get(machine)["version"] == "2"
        report = clients.report()

    assert_nothing_lost(report)
    tell("a reload and a restart of a container", machine, report)
    shown = machine.run("podman", "exec", "shop", "sockact", "status", "--json").stdout
    assert json.loads(shown)["phase"] == "active"


@KNOWS_QUADLETS
def test_a_container_that_is_killed_costs_what_it_had_in_flight_and_is_seen(machine: Machine) -> None:
    deploy(machine)

    with load(machine, "slow:4@0.5,seconds=2") as clients:
        machine.run("podman", "kill", "--signal=KILL", "shop")
        wait_until(lambda: get(machine)["version"] == "1")
        report = clients.report()

    assert 0 < report["lost"] <= 4


def docker_commands() -> list[str]:
    """Return what docs/how-to/containers.md types with docker: run, two reloads, stop."""
    page = (CHECKOUT / "docs/how-to/containers.md").read_text()
    (block,) = re.findall(r"^```sh\n(docker run.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # A machine has no bridge for a port that is published, and makes no groups.
    block = block.replace("--publish 8000:8000", "--network=host --cgroups=disabled")
    return block.replace("\\\n", "").splitlines()


@KNOWS_QUADLETS
def test_what_is_typed_with_docker_reloads_under_load(machine: Machine) -> None:
    build(machine, 1)
    machine.run("systemctl", "stop", "shop.socket", "shop.service", check=False)  # of the tests above

    def release(version: int) -> None:
        machine.write("/opt/shop/release/app.py", load_app(version))

    def typed(command: str) -> None:
        machine.run("sh", "-euc", f"cd /opt/shop; {command}")

    begin, *reloads, stop = docker_commands()
    release(1)
    typed(begin)
    wait_until(lambda: machine.run(*CONNECTS, check=False).returncode == 0)
    with load(machine, "one-shot:4@20", "persistent:4@10") as clients:
        for version, command in enumerate(reloads, 2):
            release(version)
            typed(command)
            wait_until(lambda version=version: get(machine)["version"] == str(version))
        report = clients.report()
    typed(stop)

    assert len(reloads) == 2
    assert_nothing_lost(report)
    assert machine.run("podman", "inspect", "--format={{.State.ExitCode}}", "shop").stdout.strip() == "0"
