"""One digit too many in the number of workers, and a stop while many of them start."""

from __future__ import annotations

import sys

import pytest

from sockact.errors import SettingsError
from sockact.sockets.fds import Listener
from tests.support.manager import Manager

MANY = 300
STOPS_ITS_SUPERVISOR = 'test "$SOCKACT_SUPERVISED" && kill -TERM $PPID; exec sleep 600'


def test_a_stop_is_heard_between_two_workers(manager: Manager, listener: Listener) -> None:
    program = ["/bin/sh", "-c", STOPS_ITS_SUPERVISOR]
    options = [f"--workers={MANY}", "--no-notify", "--drain-timeout=none"]
    manager.start([sys.executable, "-m", "sockact", "run", *options, "--", *program], [listener])

    assert manager.wait_exit() == 0
    assert 0 < manager.stderr().count(" starts\n") < MANY


@pytest.mark.parametrize("option", ["--workers=100000", "--surge=100000", "--threads=100000"])
def test_a_number_with_one_digit_too_many_starts_nothing(
    manager: Manager, listener: Listener, option: str
) -> None:
    manager.sockact("app:app", "--workers=1", option, listeners=[listener])

    assert manager.wait_exit() == SettingsError.exit_status
    name = option.removeprefix("--").partition("=")[0]
    assert f"{name}=100000: expected at most 1024" in manager.said("STATUS")[-1]
    assert " starts\n" not in manager.stderr()
