"""What holds for all tests."""

from collections.abc import Callable
from typing import NoReturn

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-machine",
        action="store_true",
        help="fail, rather than skip, tests for which this host lacks root, systemd-nspawn or vagrant",
    )


@pytest.fixture(scope="session")
def lacking(pytestconfig: pytest.Config) -> Callable[[str], NoReturn]:
    """What a test calls with the reason why it cannot run here."""
    return pytest.fail if pytestconfig.getoption("--require-machine") else pytest.skip
