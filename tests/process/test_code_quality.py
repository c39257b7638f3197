"""The checkout is as clean as its own tools demand."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.manager import CHECKOUT


@pytest.mark.slow
def test_the_checkout_passes() -> None:
    command = ["tests/run", "lint"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
