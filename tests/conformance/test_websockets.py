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
from tests.support.manager import CHECKOUT, Manager

Verdict = tuple[str, str, str, str]

LIMIT = 120.0
"""Seconds that a group of cases may take."""

OPTIONS = ("--websocket-ping-interval=none", "--websocket-max-message=64M")
"""No ping of ours among the frames that a case expects, and the largest messages have 16 MiB."""

COMPRESSED = (*(f"12.{group}" for group in range(1, 6)), *(f"13.{group}" for group in range(1, 8)))
SHORT = tuple(f"{group}.{case}" for group in COMPRESSED for case in (1, 2, 3))
"""Cases of compression that take seconds; all of them, which `--all-rounds` runs, take minutes."""

GROUPS = {
    "1 to 7 and 10: frames, UTF-8, close": (247, *(f"{group}.*" for group in (*range(1, 8), 10))),
    "9: large messages": (54, "9.*"),
}
"""The number of cases in a group, and their names."""

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""Verdicts of Autobahn that are no failures: it would like to see something earlier, or only tells."""


def run(listener: Listener, *cases: str, limit: float = LIMIT) -> list[Verdict]:
    """Run cases, and return of each what `autobahn.verdicts` does."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.autobahn", f"ws://{listener.address}", *cases],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(verdict) for verdict in json.loads(done.stdout)]


def failures(verdicts: list[Verdict]) -> list[Verdict]:
    return [each for each in verdicts if each[1] not in GOOD or each[2] not in GOOD]


def check(verdicts: list[Verdict], count: int) -> None:
    assert failures(verdicts) == []
    assert len(verdicts) == count


def say(passed: Callable[..., None], group: str, verdicts: list[Verdict]) -> None:
    counts = Counter(each[1] for each in verdicts)
    result = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    passed("Autobahn's WebSocket cases, by kosoku", version("kosoku"), group, len(verdicts), result)


def start(manager: Manager, listener: Listener, *options: str) -> None:
    app = "tests.conformance.apps.echo_app:app"
    manager.sockact(app, f"--chdir={CHECKOUT}", *options, listeners=[listener])
    manager.wait_ready()


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_passes(
    manager: Manager, listener: Listener, group: str, passed: Callable[..., None]
) -> None:
    start(manager, listener, *OPTIONS)

    count, *cases = GROUPS[group]
    verdicts = run(listener, *cases)

    check(verdicts, count)
    say(passed, group, verdicts)


def test_every_case_of_compression_passes(
    manager: Manager, listener: Listener, passed: Callable[..., None], pytestconfig: pytest.Config
) -> None:
    every = pytestconfig.getoption("--all-rounds")
    start(manager, listener, *OPTIONS)

    verdicts = run(listener, *(("12.*", "13.*") if every else SHORT), limit=30 * 60 if every else LIMIT)

    check(verdicts, 216 if every else len(SHORT))
    say(passed, "12 and 13: compression" + ("" if every else ", the shortest messages"), verdicts)


def test_a_case_that_fails_is_seen(manager: Manager, listener: Listener) -> None:
    start(manager, listener, "--websocket-ping-interval=none", "--websocket-max-message=100")

    assert failures(run(listener, "1.1.*"))
