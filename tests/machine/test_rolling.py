"""Several instances behind a proxy, brought to a new release one by one: docs/rolling.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.partners import INSTANCES, PROXY_PORT, Balancer
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import install, tell, wait_until

ROUNDS = 3
UNITS = tuple(f"app@{port}.{suffix}" for suffix in ("socket", "service") for port in INSTANCES)
TEMPLATES = ("app@.service", "app@.socket")
RELOAD, RESTART = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "docs/rolling.md").read_text(), re.DOTALL)


@pytest.fixture
def instances(app: Machine) -> Iterator[Machine]:
    """Give a machine on which all instances serve the first version."""
    install(app, 1)
    for unit in TEMPLATES:
        app.run("install", "-m", "644", f"units/{unit}", f"/etc/systemd/system/{unit}")
    app.write(
        "/etc/systemd/system/app@.service.d/test.conf", "[Service]\nEnvironment=SOCKACT_PROBATION=0.1s\n"
    )
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "start", *UNITS)
    yield app
    app.run("systemctl", "stop", *UNITS)
    app.run(
        "rm", "-rf", *(f"/etc/systemd/system/{unit}{more}" for unit in TEMPLATES for more in ("", ".d"))
    )


def version(machine: Machine, port: int) -> str:
    """Ask one instance, past the proxy."""
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/').read().decode())"
    answer: str = json.loads(machine.run("python3", "-c", script).stdout)["version"]
    return answer


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_nobody_is_lost_while_all_instances_are_rolled(instances: Machine, verb: str) -> None:
    proxy = Balancer(instances)
    with proxy.running():
        with load(instances, port=PROXY_PORT) as clients:
            for number in range(2, ROUNDS + 2):
                install(instances, number)
                for port in INSTANCES:
                    instances.run("systemctl", verb, f"app@{port}.service")
                    # Ready before the next one is told; the old workers may accept for another moment.
                    wait_until(lambda port=port, number=number: version(instances, port) == str(number))
            report = clients.report()
        complaints = proxy.complaints()

    assert_nothing_lost(report)
    assert complaints == []
    assert {seen["version"] for seen in report["seen"]} == {str(n) for n in range(1, ROUNDS + 2)}
    tell(f"{ROUNDS} times {verb} of {len(INSTANCES)} instances, behind {proxy}", instances, report)


@pytest.mark.parametrize("script", [RELOAD, RESTART], ids=["reload", "restart"])
def test_the_roll_in_the_documentation_loses_nobody_and_stops_at_a_broken_release(
    instances: Machine, script: str
) -> None:
    proxy = Balancer(instances)
    with proxy.running():
        with load(instances, port=PROXY_PORT) as clients:
            install(instances, 2)
            instances.run("sh", "-c", script)
            wait_until(lambda: {version(instances, port) for port in INSTANCES} == {"2"})
            install(instances, 3, "x = (")

            assert instances.run("sh", "-c", script, check=False).returncode != 0

            assert {version(instances, port) for port in INSTANCES} == {"2"}
            report = clients.report()
        complaints = proxy.complaints()

    assert_nothing_lost(report)
    assert complaints == []
    assert {seen["version"] for seen in report["seen"]} == {"1", "2"}


def test_the_load_would_see_an_instance_that_is_gone(instances: Machine) -> None:
    with Balancer(instances).running(), load(instances, port=PROXY_PORT) as clients:
        instances.run("systemctl", "stop", f"app@{INSTANCES[0]}.socket", f"app@{INSTANCES[0]}.service")
        report = clients.report()

    assert report["lost"] > 0
