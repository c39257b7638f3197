"""The files of a unit; and whether this process and systemd know the same of the store."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sockact.handover import store
from sockact.protocols.notify import Notifier
from sockact.systemd import unit_files
from sockact.systemd.unit_files import UnitFiles
from tests.support.in_process import close, in_cgroup

MAX = "FileDescriptorStoreMax"


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[Service]\n{text}")


def most_of(unit: UnitFiles) -> str:
    """Return the value that counts, '' for none."""
    return "".join(unit.read().get(f"Service.{MAX}", ())[-1:])


@pytest.mark.parametrize(
    ("unit", "files", "value"),
    [
        ("app.service", {}, ""),
        ("app.service", {"etc/app.service": ""}, ""),
        ("app.service", {"etc/app.service": f"{MAX}=7\n"}, "7"),
        ("app.service", {"etc/app.service": f" {MAX} = 7 \n"}, "7"),
        ("app.service", {"etc/app.service": f"#{MAX}=7\n"}, ""),
        ("app.service", {"etc/app.service": f"{MAX}=7\n", "lib/app.service": f"{MAX}=8\n"}, "7"),
        ("app.service", {"lib/app.service": f"{MAX}=8\n", "etc/app.service.d/a.conf": f"{MAX}=9"}, "9"),
        ("app.service", {"etc/app.service": f"{MAX}=8\n", "lib/app.service.d/a.conf": f"{MAX}=9"}, "9"),
        ("app.service", {"etc/app.service": f"{MAX}=8\n", "etc/service.d/a.conf": f"{MAX}=0"}, "0"),
        ("app.service", {"etc/app.service": f"{MAX}=8\n", "etc/app.service.d/a": f"{MAX}=0"}, "8"),
        (
            "app.service",
            {
                "etc/app.service": "",
                "lib/app.service.d/b.conf": f"{MAX}=9",
                "etc/app.service.d/a.conf": f"{MAX}=2",
            },
            "9",
        ),
        (
            "app.service",
            {
                "etc/app.service": "",
                "lib/app.service.d/a.conf": f"{MAX}=9",
                "etc/app.service.d/a.conf": f"{MAX}=2",
            },
            "2",
        ),
        ("app@1.service", {"etc/app@.service": f"{MAX}=7\n"}, "7"),
        ("app@1.service", {"etc/app@.service": f"{MAX}=7\n", "lib/app@1.service": f"{MAX}=8\n"}, "8"),
        ("app@1.service", {"etc/app@.service": "", "etc/app@.service.d/a.conf": f"{MAX}=8\n"}, "8"),
        ("a-b-c.service", {"etc/a-b-c.service": "", "etc/a-.service.d/a.conf": f"{MAX}=8\n"}, "8"),
        ("app.service", {"etc/app.service.d/a.conf": f"{MAX}=8\n"}, ""),
        ("app.service", {"etc/app.service": "", "etc/app@.service": f"{MAX}=7\n"}, ""),
    ],
)
def test_the_last_assignment_that_systemd_would_read_counts(
    unit: str, files: Mapping[str, str], value: str, tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert most_of(UnitFiles(unit, [f"{tmp_path}/etc", f"{tmp_path}/lib"])) == value


def test_what_is_no_text_or_no_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.service").write_bytes(b"\xff\n")
    (tmp_path / "app.service.d" / "a.conf").mkdir(parents=True)
    assert UnitFiles("app.service", [str(tmp_path)]).read() == {}


def test_a_users_manager_has_folders_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_cgroup("0::/user.slice/user@7.service/app.slice/app.service\n", tmp_path, monkeypatch)
    unit = unit_files.of_this_process({"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/7"})

    assert unit is not None
    assert "/home/a/.config/systemd/user" in unit.folders
    assert "/run/user/7/systemd/transient" in unit.folders
    assert not set(unit.folders) & set(unit_files.SYSTEM)


@pytest.mark.parametrize(
    ("told", "most", "said"),
    [
        (
            None,
            "5",
            ("found no FDSTORE in the environment", "Max=5 in the unit: connections above 0 end"),
        ),
        (
            "4",
            "5",
            ("found FDSTORE=4 in the environment", "Max=5 in the unit: connections above 4 end"),
        ),
        (
            "5",
            "",
            ("found FDSTORE=5 in the environment", "Max=0 in the unit: connections above 0 end"),
        ),
        ("5", "5", ()),
        (None, "", ()),
        (None, "0", ()),
        (None, "many", ()),
    ],
)
def test_a_store_of_which_the_process_is_not_told_the_truth_is_said(
    told: str | None,
    most: str,
    said: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_unit(tmp_path, monkeypatch, most)
    if told is not None:
        monkeypatch.setenv("FDSTORE", told)

    with manager_at(tmp_path / "systemd" / "notify", monkeypatch), caplog.at_level(logging.WARNING):
        explain()

    assert caplog.text.count("connections above") == bool(said)
    assert all(part in caplog.text for part in said)
    if said:
        assert f"expected Environment=FDSTORE={most or 0}" in caplog.text


@contextlib.contextmanager
def manager_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a manager's socket there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield


def in_unit(folder: Path, monkeypatch: pytest.MonkeyPatch, most: str) -> None:
    """Make this process one of a unit with such a file."""
    in_cgroup("0::/system.slice/app.service\n", folder, monkeypatch)
    (folder / "app.service").write_text(f"[Service]\n{MAX}={most}\n" if most else "[Service]\n")
    monkeypatch.setattr(unit_files, "SYSTEM", (str(folder),))


def explain() -> None:
    notifier = Notifier()
    store.Store(notifier).explain()
    close(notifier)


@pytest.mark.parametrize("manager", ["notify", "other/notify", "xsystemd/notify", "systemd/notify/other"])
def test_another_manager_than_systemd_is_not_measured_by_a_unit(
    manager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_unit(tmp_path, monkeypatch, "5")
    with manager_at(tmp_path / manager, monkeypatch), caplog.at_level(logging.WARNING):
        explain()

    assert caplog.text == ""


@pytest.mark.parametrize("cgroups", ["0::/\n", "0::/system.slice/elsewhere.service\n", "\n", None])
def test_without_a_unit_of_which_the_files_are_found_nothing_is_said(
    cgroups: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_unit(tmp_path, monkeypatch, "5")
    if cgroups is None:
        (tmp_path / "self" / "cgroup").unlink()
    else:
        (tmp_path / "self" / "cgroup").write_text(cgroups)

    assert store.allowed() is None
