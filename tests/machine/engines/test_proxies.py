"""Proxies that keep connections to the service, and must not see that other processes answer on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.machine.change import CHANGES, Change
from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.partners import PROXY_PORT, Haproxy, Nginx, Proxy, opened
from tests.support.machine.service import main_pid, processes, tell, wait_until

CLIENTS = 64
KEPT = ("persistent:8@50", "persistent:56@5")
ALL_AT_ONCE = f"slow:{CLIENTS}@0.2,seconds=2"
"""As many requests in flight at a time as there will ever be."""
ATTEMPTS = 5
PROXIED = tuple(change for change in CHANGES if change.workers)


@pytest.fixture(params=[Nginx, Haproxy], ids=["nginx", "haproxy"])
def proxy(app: Machine, request: pytest.FixtureRequest) -> Proxy:
    """Give a proxy that does not run yet."""
    return request.param(app)


def need_all(machine: Machine) -> int:
    """Make the proxy need a connection for each client; return how many it had to open for that."""
    before = opened(machine)
    with load(machine, ALL_AT_ONCE, port=PROXY_PORT) as clients:
        report = clients.report()
    assert_nothing_lost(report)
    return opened(machine) - before - int(report["total"]["connections"])


def fill(machine: Machine) -> None:
    """Make the proxy open as many connections as it will ever need: one more means that one was lost."""
    missing = CLIENTS
    for _ in range(ATTEMPTS):  # fewer are missing each time, however busy this machine is
        missing -= need_all(machine)
        if missing <= 0:
            break
    assert missing == 0


@pytest.mark.parametrize("change", PROXIED, ids=str)
def test_no_proxy_has_to_reconnect(
    app: Machine, proxy: Proxy, change: Change, rounds: Callable[..., int]
) -> None:
    change.start(app)
    with proxy.running():
        fill(app)
        with load(app, *KEPT, port=PROXY_PORT) as clients:
            before = opened(app)
            change.make(app, rounds(change.rounds))
            report = clients.report()
        reconnects = opened(app) - before
        reconnects += need_all(app)  # an idle connection that was lost is missed only now
        complaints = proxy.complaints()

    assert_nothing_lost(report)
    assert complaints == []
    assert report["total"]["connections"] == CLIENTS
    assert reconnects == 0
    tell(f"{rounds(change.rounds)} times {change}, behind {proxy}, {reconnects} reconnects", app, report)


def test_a_proxy_is_seen_to_reconnect_where_nothing_is_handed_over(app: Machine, proxy: Proxy) -> None:
    change = PROXIED[0]
    change.start(app, "--no-handover")
    with proxy.running():
        fill(app)
        old = processes(app)
        change.make(app, 1)
        wait_until(lambda: processes(app) & old == {main_pid(app)})
        reconnects = need_all(app)

    assert reconnects > 0
    print(f"{app.name}: {change} without handover, behind {proxy}: {reconnects} reconnects")
