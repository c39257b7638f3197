"""The journal on real systemd: what it has of a request, and requests while it takes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from sockact.config.records import RecordKind
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import ALONE, configure, install, main_pid, reload, wait_until

FAILING = (
    "import logging",
    "inner = app",
    "async def app(scope, receive, send):",
    "    if scope.get('path') == '/fail':",
    "        logging.getLogger('shop').warning('the till is empty')",
    "        raise RuntimeError('no change')",
    "    await inner(scope, receive, send)",
)

ASK = """
import http.client, sys
client = http.client.HTTPConnection("127.0.0.1", 8000, timeout=120)
for _ in range(int(sys.argv[2])):
    client.request("GET", sys.argv[1], headers={"User-Agent": "me"})
    response = client.getresponse()
    response.read()
    assert response.status in (200, 500), response.status
print(response.getheader("X-Request-ID"))
"""

HELD_UP = 1500
"""Requests while the journal hangs: its queue has room for 512 datagrams."""

STREAM = "_TRANSPORT=stdout"
"""Entries that have come by the stream of standard error."""

CATALOG = "/usr/local/lib/systemd/catalog/sockact.catalog"


def ask(machine: Machine, path: str = "/", count: int = 1) -> str:
    """Send so many requests on a connection; return the id of the last one."""
    return machine.run("python3", "-c", ASK, path, str(count), timeout=240).stdout.strip()


def entries(machine: Machine, since: float, *options: str) -> list[dict[str, str]]:
    machine.run("journalctl", "--sync")
    command = ("journalctl", "-o", "json", "--all", "--unit=app.service", f"--since=@{since:.6f}", *options)
    return [json.loads(line) for line in machine.run(*command).stdout.splitlines()]


@pytest.mark.parametrize("role", ["alone", "supervised"])
def test_journalctl_shows_all_records_about_a_request(app: Machine, role: str) -> None:
    install(app, 1, *FAILING)
    options = ("--access-log", "--request-id=X-Request-ID", "--probation=0.1s")
    configure(app, *options, service=ALONE if role == "alone" else "")
    since = time.time()
    app.run("systemctl", "start", "app.socket")
    ask(app)
    reload(app)

    found = f"REQUEST_ID={ask(app, '/fail')}"
    wait_until(lambda: len(entries(app, since, found)) == 3)

    warned, failed, asked = entries(app, since, found)
    assert (warned["MESSAGE"], warned["PRIORITY"], warned["LOGGER"]) == ("the till is empty", "4", "shop")
    assert failed["MESSAGE_ID"] == RecordKind.REQUEST_FAILED
    assert failed["MESSAGE"].startswith("GET /fail: the app has failed\nTraceback (most recent call last):")
    assert failed["MESSAGE"].endswith("RuntimeError: no change")
    assert failed["PRIORITY"] == "3"
    assert asked["MESSAGE"].startswith('127.0.0.1 "GET /fail HTTP/1.1" 500 21 ')
    assert (asked["STATUS"], asked["USER_AGENT"], asked["METHOD"]) == ("500", "me", "GET")
    assert int(asked["DURATION_USEC"]) > 0
    assert {each["GENERATION"] for each in (warned, failed, asked)} == {"2"}
    assert ("WORKER" in asked) is (role == "supervised")
    assert_can_be_told_apart(app, since)


def assert_can_be_told_apart(app: Machine, since: float) -> None:
    """The access log can be read alone, and left out, by its identifier."""
    accesses = entries(app, since, "--identifier=sockact-access")
    assert [each["TARGET"] for each in accesses] == ["/", "/fail"]
    assert not any("TARGET" in each for each in entries(app, since, "--identifier=sockact"))
    if app.systemd_version() >= 256:
        # Of systemd 257, this option is for lines: with `-o json` it leaves nothing out.
        command = (
            "journalctl",
            "-u",
            "app",
            f"--since=@{since:.6f}",
            "--exclude-identifier=sockact-access",
        )
        rest = app.run(*command).stdout
        assert "gen 2 is ready" in rest
        assert "HTTP/1.1" not in rest


@pytest.fixture
def hanging_journal(app: Machine) -> Iterator[Machine]:
    """The machine with a journal that takes nothing, from the test's own start of that."""
    yield app
    app.run("systemctl", "kill", "--signal=CONT", "systemd-journald.service")


def test_requests_go_on_while_the_journal_hangs(hanging_journal: Machine) -> None:
    app = hanging_journal
    install(app, 1)
    configure(app, "--access-log", "--request-id=X-Request-ID", service="LogRateLimitIntervalSec=0")
    since = time.time()
    app.run("systemctl", "start", "app.socket")
    ask(app)
    pid = main_pid(app)

    app.run("systemctl", "kill", "--signal=STOP", "systemd-journald.service")
    ask(app, count=HELD_UP)
    app.run("systemctl", "kill", "--signal=CONT", "systemd-journald.service")

    last = ask(app)
    wait_until(lambda: bool(entries(app, since, f"REQUEST_ID={last}")))
    told = [each["MESSAGE"] for each in entries(app, since)]
    kept = sum('"GET / HTTP/1.1" 200' in each for each in told)
    lost = sum(int(each.split()[0]) for each in told if "log records are lost" in each)
    assert kept + lost == HELD_UP + 2
    # So the queue was full, and a send that waits would have waited.
    assert any('"GET / HTTP/1.1" 200' in each["MESSAGE"] for each in entries(app, since, STREAM))
    assert main_pid(app) == pid


def test_requests_and_log_go_on_over_a_restart_of_the_journal(app: Machine) -> None:
    install(app, 1)
    configure(app, "--access-log", "--request-id=X-Request-ID")
    since = time.time()
    app.run("systemctl", "start", "app.socket")
    ids = [ask(app)]

    app.run("systemctl", "restart", "systemd-journald.service")
    ids.append(ask(app))

    wait_until(lambda: all(entries(app, since, f"REQUEST_ID={each}") for each in ids))


def test_the_catalog_explains_a_record(app: Machine) -> None:
    app.write(CATALOG, (CHECKOUT / "units" / "sockact.catalog").read_text())
    try:
        app.run("journalctl", "--update-catalog")
        install(app, 1)
        since = time.time()
        app.run("systemctl", "start", "app.service")
        command = (
            "journalctl",
            "-x",
            "-u",
            "app",
            f"--since=@{since:.6f}",
            f"MESSAGE_ID={RecordKind.READY}",
        )
        wait_until(lambda: "The service answers requests" in app.run(*command, check=False).stdout)
    finally:
        app.run("rm", CATALOG)
        app.run("journalctl", "--update-catalog")
