"""Files compared with those that are there, and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.errors import UnavailableError
from sockact.units import installing, manager
from sockact.units.unit_text import UnitText

TEXTS = [UnitText("a.service", "One", []), UnitText("a.service.d/tls.conf", "Two", [])]


def states(folder: Path) -> list[str]:
    return [each.state for each in installing.changes(TEXTS, str(folder))]


def test_files_are_new_then_unchanged_then_changed(tmp_path: Path) -> None:
    assert states(tmp_path) == ["new", "new"]
    installing.write(installing.changes(TEXTS, str(tmp_path)))
    assert states(tmp_path) == ["unchanged", "unchanged"]
    (tmp_path / "a.service").write_text("# Other\n")
    assert states(tmp_path) == ["changed", "unchanged"]
    (change, _) = installing.changes(TEXTS, str(tmp_path))
    assert "-# Other\n+# One\n" in change.diff()
    installing.write([change])
    assert states(tmp_path) == ["unchanged", "unchanged"]
    assert (tmp_path / "a.service").stat().st_mode & 0o777 == 0o644
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.service", "a.service.d"]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.service.d").write_text("a file in the way of a folder")

    with pytest.raises(UnavailableError, match=r"a\.service\.d/tls\.conf"):
        installing.write(installing.changes(TEXTS, str(tmp_path)))


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / "a.service").symlink_to(tmp_path / "other")
    installing.write(installing.changes(TEXTS, str(tmp_path)))

    assert (tmp_path / "other").read_text() == "kept"
    assert not (tmp_path / "a.service").is_symlink()


def test_nothing_is_installed_where_systemd_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = manager.UnitManager("--system")
    monkeypatch.setattr(manager, "BOOTED", str(tmp_path))
    systemd.require_running()
    monkeypatch.setattr(manager, "BOOTED", str(tmp_path / "none"))

    with pytest.raises(UnavailableError, match="expected --output FOLDER instead of --install"):
        systemd.require_running()
