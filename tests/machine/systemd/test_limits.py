"""systemd's limits on how often something starts must not end what clients wait at."""

from __future__ import annotations

import json

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import LIMIT, client, get, install, wait_for

STOPS = 60
"""In a row, and faster than 20 in two seconds: the limit is of starts, each of which a client asks for."""


@pytest.fixture
def service(app: Machine) -> Machine:
    """Give a machine on which the socket is active, and nothing else."""
    install(app, 1)
    app.run("systemctl", "start", "app.socket")
    return app


def stop_again_and_again(machine: Machine) -> None:
    # The start for which a client asks may cancel a stop.
    script = f"for i in $(seq {STOPS}); do systemctl stop app.service 2>/dev/null || :; done"
    machine.run("sh", "-c", script, timeout=LIMIT * 2)


def test_a_stopped_service_is_started_by_the_next_connection(service: Machine) -> None:
    for _ in range(6):  # one more than systemd's limit of starts allows by default
        pid = get(service)["pid"]
        service.run("systemctl", "stop", "app.service")
        assert service.show("app.socket", "ActiveState")["ActiveState"] == "active"
        assert get(service)["pid"] != pid
        wait_for(service, "ActiveState=active")


def test_stops_while_clients_wait_do_not_end_the_socket(service: Machine) -> None:
    waiting = [client(service) for _ in range(4)]

    stop_again_and_again(service)

    assert [json.loads(each.communicate(timeout=LIMIT)[0])["version"] for each in waiting] == ["1"] * 4
    assert service.show("app.socket", "ActiveState", "Result") == {
        "ActiveState": "active",
        "Result": "success",
    }


def test_with_a_limit_they_do(service: Machine) -> None:
    """The limits of systemd that the test above relies on; no start ends before the next stop."""
    limit = "[Socket]\nTriggerLimitBurst=20\nTriggerLimitIntervalSec=60s\n"
    service.write("/etc/systemd/system/app.socket.d/test.conf", limit)
    service.write("/etc/systemd/system/app.service.d/test.conf", "[Service]\nExecStartPre=sleep infinity\n")
    service.run("systemctl", "daemon-reload")
    waiting = client(service)

    stop_again_and_again(service)

    assert service.show("app.socket", "Result")["Result"] == "trigger-limit-hit"
    assert "reset" in waiting.communicate(timeout=LIMIT)[0]
