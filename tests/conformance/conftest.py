"""What the tests with programs of other people have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest

PASSED = "conformance"
PROVISION = "foreign"
"""The step of units/provision that installs the programs."""


@pytest.fixture
def passed(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Give a callable that takes a line of docs/conformance.md, if the test passes.

    That is who has asked, its version, for what, how often, and the result, if it says more than that.
    """

    def passed(suite: str, version: str, cases: str, count: int = 1, result: str = "") -> None:
        request.node.user_properties.append((PASSED, (suite, version, cases, count, result)))

    return passed


@pytest.fixture
def program(needs: Callable[..., None]) -> Callable[[str], str]:
    """Give a callable that takes the name of a program, and returns it if it is installed."""

    def program(name: str) -> str:
        needs(name, PROVISION)
        return name

    return program
