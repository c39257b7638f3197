"""What a process finds out about sockets that were not passed to it, by its environment and its number."""

from __future__ import annotations

import os

import pytest

from sockact.systemd import activation


@pytest.mark.parametrize(
    ("pid", "environ", "refused"),
    [
        (1, {"SYSTEMD_EXEC_PID": "542", "LISTEN_PID": "542"}, True),
        (1, {"SYSTEMD_EXEC_PID": "542"}, True),
        (1, {"LISTEN_PID": "1"}, False),
        (1, {"SYSTEMD_EXEC_PID": "542", "LISTEN_PID": "1", "container": "podman"}, False),
        (542, {"SYSTEMD_EXEC_PID": "542", "LISTEN_PID": "542"}, False),
    ],
    ids=["sockets", "none", "container", "container that has got systemd's environment", "service"],
)
def test_a_pid_namespace_of_systemds_is_told_from_a_container(
    pid: int, environ: dict[str, str], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: pid)

    assert (activation.misnumbered(environ) is not None) == refused
