"""The question whether systemd will start this unit again: how it is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from sockact.handover import store
from sockact.protocols.notify import Notifier
from sockact.systemd import unit_files
from tests.support.in_process import in_cgroup


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/app.service\n", ("--system", "app.service")),
        ("0::/system.slice/system-app.slice/app@1.service\n", ("--system", "app@1.service")),
        ("0::/system.slice/app.service/workers\n", ("--system", "app.service")),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/app.service\n", ("--user", "app.service")),
        ("1:name=systemd:/x\n0::/system.slice/app.service\n", ("--system", "app.service")),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ("--system", "")),
        ("0::/\n", ("--system", "")),
    ],
)
def test_the_unit_is_found_in_the_cgroup(cgroups: str, unit: tuple[str, str]) -> None:
    cgroup = unit_files.cgroup_in(cgroups)

    assert ("--user" if unit_files.is_users(cgroup) else "--system", cgroup.rpartition("/")[2]) == unit


@pytest.mark.parametrize(
    ("answer", "followed"),
    [
        ("echo 7 app.service restart running", True),
        ("echo 7 app.service start waiting", True),
        ("echo 7 app.service stop running", False),
        ("echo 7 app.service stop running; echo 8 other.service restart running", False),
        ("echo No jobs running.", False),
        ("echo Failed to connect to bus >&2; exit 1", False),
    ],
)
def test_its_job_tells_whether_it_comes_again(
    answer: str, followed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cgroup("0::/system.slice/app.service\n", tmp_path, monkeypatch)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n{answer}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert store.is_followed() == followed
    assert (tmp_path / "asked").read_text() == "--system list-jobs --no-legend --plain app.service\n"


@pytest.mark.parametrize("cgroups", ["0::/system.slice/app.service\n", "0::/\n"])
def test_where_nobody_can_be_asked_a_stop_is_assumed(
    cgroups: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cgroup(cgroups, tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", "")

    assert not store.is_followed()


def test_an_app_that_forbids_to_start_programs_does_not_make_the_stop_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise RuntimeError("no programs here")

    in_cgroup("0::/system.slice/app.service\n", tmp_path, monkeypatch)
    monkeypatch.setattr(subprocess, "run", forbidden)

    monkeypatch.setenv("FDSTORE", "16")

    assert asyncio.run(store.Store(Notifier()).room(followed=False)) == 0


def test_a_signal_that_ends_all_of_the_service_does_not_end_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cgroup("0::/system.slice/app.service\n", tmp_path, monkeypatch)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nkill -TERM $$\necho 7 app.service restart running\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert store.is_followed()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("ExecStop=+/bin/sh -c 'if asked; then kill -s URG $MAINPID; fi'", False),
        ("ExecStop=/bin/true", True),
        ("ExecStop=/usr/bin/urgent", True),
        ("", True),
    ],
)
def test_a_unit_is_told_to_say_whether_it_starts_again_only_if_it_does_not(
    lines: str,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_cgroup("0::/system.slice/app.service\n", tmp_path, monkeypatch)
    (tmp_path / "app.service").write_text(f"[Service]\n{lines}\n")
    monkeypatch.setattr(unit_files, "SYSTEM", (str(tmp_path),))
    monkeypatch.setenv("PATH", "")

    with caplog.at_level("INFO"):
        assert not store.is_followed()

    assert ("would tell" in caplog.text) == said
