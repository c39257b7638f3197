"""A PID file in a folder to which others may write: nothing of theirs is opened, followed or waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sockact.errors import SettingsError
from sockact.process import pidfile
from sockact.process.pidfile import PidFile

NOBODY = 65534
by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def link(path: Path) -> None:
    path.symlink_to(path.parent / "precious")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def of_another(path: Path) -> None:
    path.write_text("1\n")
    os.chown(path, NOBODY, NOBODY)


def device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


HINDRANCES = [
    pytest.param(link, "no regular file"),
    pytest.param(dangling, "no regular file"),
    pytest.param(fifo, "no regular file"),
    pytest.param(folder, "no regular file"),
    pytest.param(of_another, "a file of uid 65534 is there", marks=by_root),
    pytest.param(device, "no regular file", marks=by_root),
]


@pytest.mark.parametrize(("make", "reason"), HINDRANCES)
def test_what_others_have_put_in_its_place_is_refused_and_left(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    path = tmp_path / "pid"
    make(path)
    before = path.lstat()

    with pytest.raises(SettingsError, match=rf"^pid_file='.*pid' cannot be written: .*{reason}"):
        PidFile(str(path))

    assert os.path.samestat(path.lstat(), before)
    assert (tmp_path / "precious").read_text() == "precious"
    assert {each.name for each in tmp_path.iterdir()} == {"pid", "precious"}


@pytest.mark.parametrize(("make", "reason"), HINDRANCES)
def test_what_somebody_puts_there_later_is_left_at_the_end(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text(f"{os.getpid()}\n")
    path = tmp_path / "pid"
    file = PidFile(str(path))
    path.unlink()
    make(path)

    file.remove()

    assert path.lstat(), reason
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("make", [fifo, link, of_another])
def test_nobody_can_know_the_name_under_which_it_is_made(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And even then: what is there is not opened."""
    if make is of_another and os.geteuid():
        pytest.skip("only root may give files away")
    make(tmp_path / f"pid.{os.getpid()}")  # as it was called once
    PidFile(str(tmp_path / "pid")).remove()
    monkeypatch.setattr(pidfile.os, "urandom", bytes)
    make(tmp_path / f"pid.{bytes(8).hex()}")

    with pytest.raises(SettingsError, match="File exists"):
        PidFile(str(tmp_path / "pid"))

    assert not (tmp_path / "pid").exists()


def test_the_file_that_a_process_of_this_user_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")

    file = PidFile(str(path))

    assert path.read_text() == f"{os.getpid()}\n"
    file.remove()
    assert not path.exists()


def test_the_file_of_another_process_that_came_after_this_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    before = PidFile(str(path))
    after = PidFile(str(path))

    before.remove()

    assert path.exists()
    after.remove()
    assert not path.exists()
