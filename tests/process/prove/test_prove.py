"""The parts of `sockact prove` that need processes and sockets; tests/machine/prove has the whole."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from sockact.prove import listening
from sockact.prove.verbs import Verb, actions
from sockact.systemd.systemctl import Described


def test_a_stop_that_fails_is_followed_by_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ $3 = start ]\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (stop,) = actions([Verb.STOP], Described("a b.service", "--system", {}, {}))

    assert subprocess.run(stop.argv, check=False).returncode == 1
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--no-ask-password --system stop -- a b.service",
        "--no-ask-password --system start -- a b.service",
    ]


def test_the_sockets_at_which_a_process_listens_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "processes", lambda _: [os.getpid()])
    path = f"{tmp_path}/a b ü.sock"
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as local,
        socket.create_connection(listener.getsockname()),
    ):
        local.bind(path)
        port = f"127.0.0.1:{listener.getsockname()[1]}"
        before = listening.addresses("/x")
        local.listen()
        found = listening.addresses("/x")

    assert port in before
    assert set(found) - set(before) == {path}
    assert found[-1].startswith("/")
