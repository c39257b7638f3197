"""The units of several instances are those of one, but for the instance's name."""

from __future__ import annotations

import pytest

from tests.manager import CHECKOUT

OF_AN_INSTANCE = {
    "app.socket": "app@%i.socket",
    "RuntimeDirectory=app": "RuntimeDirectory=app-%i",
    "127.0.0.1:8000": "127.0.0.1:%i",
}


def options(name: str) -> list[str]:
    """Return the lines of a unit that mean something to systemd, but for its description."""
    lines = (CHECKOUT / "units" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "Description="))]


@pytest.mark.F118
@pytest.mark.parametrize("suffix", ["service", "socket"])
def test_an_instance_is_like_the_only_one(suffix: str) -> None:
    expected = "\n".join(options(f"app.{suffix}"))
    for one, instance in OF_AN_INSTANCE.items():
        expected = expected.replace(one, instance)

    assert options(f"app@.{suffix}") == expected.splitlines()
