"""Paths of a service's sockets, as the service itself tells them."""

from __future__ import annotations

import os

import pytest

from sockact.sockets.unix_path import unreachable


@pytest.mark.parametrize("path", ["/run/\0x", "/nowhere/" + 5000 * "x", "/nowhere/\udcff"])
def test_a_path_that_can_be_none_is_not_reachable(path: str) -> None:
    (line,) = unreachable([{"address": path}], os.getpid())

    assert "it was removed" in line
