"""What holds for all tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-machine",
        action="store_true",
        help="fail, rather than skip, tests for which this host lacks what they need (root, systemd-nspawn, vagrant)",
    )


@pytest.fixture(scope="session")
def lacking(pytestconfig: pytest.Config):
    """What a test calls with the reason why it cannot run here."""
    return pytest.fail if pytestconfig.getoption("--require-machine") else pytest.skip
