"""Autobahn's WebSocket cases, run by kosoku."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version

import pytest

from sockact.sockets.fds import Listener
from tests.conformance.serving import SUPERVISED, reload, start
from tests.support.http_client import get
from tests.support.manager import CHECKOUT, Manager, open_sockets, wait_until
from tests.support.processes import workers

Verdict = tuple[str, str, str, str]

LIMIT = 300.0
"""Seconds that a group of cases may take: several times what it takes on a machine that is not busy."""

OPTIONS = ("--websocket-ping-interval=none", "--websocket-max-message=64M")
"""No ping of ours among the frames that a case expects, and the largest messages have 16 MiB."""

IN_RELOADS = ("1.*", "2.*", "3.*", "4.*", "5.*", "7.*")

COMPRESSED = (*(f"12.{group}" for group in range(1, 6)), *(f"13.{group}" for group in range(1, 8)))
SHORT = tuple(f"{group}.{case}" for group in COMPRESSED for case in (1, 2, 3))
"""Cases of compression that take seconds; all of them, which `--all-rounds` runs, take minutes."""

COMPRESSION = "12 and 13, compression"

GROUPS = {
    "1 to 7 and 10, frames and closing": (247, *(f"{group}.*" for group in (*range(1, 8), 10))),
    "9, large messages": (54, "9.*"),
}
"""The number of cases in a group, and their names."""

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""Verdicts of Autobahn that are no failures: it would like to see something earlier, or only tells."""


def begin(listener: Listener, *cases: str) -> subprocess.Popen[str]:
    """Begin to run cases."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.autobahn", f"ws://{listener.address}", *cases],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(client: subprocess.Popen[str], limit: float) -> list[Verdict]:
    """Wait for the end, and return of each case what `autobahn.verdicts` does."""
    with client:
        try:
            said, complaints = client.communicate(timeout=limit)
        finally:
            client.kill()
    assert client.returncode == 0, complaints
    return [tuple(verdict) for verdict in json.loads(said)]


def run(listener: Listener, *cases: str, limit: float = LIMIT) -> list[Verdict]:
    return end(begin(listener, *cases), limit)


def failures(verdicts: list[Verdict]) -> list[Verdict]:
    return [each for each in verdicts if each[1] not in GOOD or each[2] not in GOOD]


def check(verdicts: list[Verdict], count: int) -> None:
    assert failures(verdicts) == []
    assert len(verdicts) == count


def say(passed: Callable[..., None], group: str, verdicts: list[Verdict]) -> None:
    counts = Counter(each[1] for each in verdicts)
    result = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    passed("Autobahn, by kosoku", version("kosoku"), group, len(verdicts), result)


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_passes(
    manager: Manager, listener: Listener, group: str, passed: Callable[..., None]
) -> None:
    start(manager, listener, "client_asgi", *OPTIONS)

    count, *cases = GROUPS[group]
    verdicts = run(listener, *cases)

    check(verdicts, count)
    say(passed, group, verdicts)


def test_every_case_of_compression_passes(
    manager: Manager, listener: Listener, passed: Callable[..., None], pytestconfig: pytest.Config
) -> None:
    every = pytestconfig.getoption("--all-rounds")
    start(manager, listener, "client_asgi", *OPTIONS)

    verdicts = run(listener, *(("12.*", "13.*") if every else SHORT), limit=30 * 60 if every else LIMIT)

    check(verdicts, 216 if every else len(SHORT))
    say(passed, COMPRESSION, verdicts)


def test_every_case_passes_while_new_code_takes_over(
    manager: Manager, listener: Listener, passed: Callable[..., None]
) -> None:
    start(manager, listener, "client_asgi", *OPTIONS, *SUPERVISED, "--websocket-grace=60s")
    (first,) = workers(manager.pid)
    before = open_sockets(first)
    client = begin(listener, *IN_RELOADS)
    wait_until(lambda: open_sockets(first) > before or client.poll() is not None)
    reloads = 0
    while client.poll() is None:
        reload(manager)
        reloads += 1

    verdicts = end(client, LIMIT)
    assert failures(verdicts) == []
    assert reloads > 0
    say(passed, "1 to 5 and 7, over reloads", verdicts)


@pytest.mark.parametrize("group", [*GROUPS, COMPRESSION])
def test_every_case_passes_with_reloads_inside_it(
    manager: Manager, listener: Listener, group: str, passed: Callable[..., None]
) -> None:
    manager.start([sys.executable, "-m", "tests.conformance.moving"], [listener], PYTHONPATH=str(CHECKOUT))
    manager.wait_ready()
    count, *cases = GROUPS.get(group, (len(SHORT), *SHORT))

    verdicts = run(listener, *cases)

    check(verdicts, count)
    opened, moved, moves = map(int, get(listener, "/moves").text.split())
    assert moved == opened >= count
    assert moves > moved
    say(passed, f"{group}, with reloads inside", verdicts)


def test_a_case_that_fails_is_seen(manager: Manager, listener: Listener) -> None:
    start(manager, listener, "client_asgi", "--websocket-ping-interval=none", "--websocket-max-message=100")

    assert failures(run(listener, "1.1.*"))
