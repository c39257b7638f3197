"""`--fix` writes what is certain, where it belongs, and changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.check import repair
from sockact.errors import UnavailableError
from tests.support.unit_cases import BASES, CASES, UnitCase, findings, names, write

CURED = [case for case in CASES if case.version is None]


def fix(folder: Path) -> list[repair.ChangedFile]:
    changed = repair.changes(findings(folder))
    for file in changed:
        file.write()
    return changed


@pytest.mark.parametrize("case", CURED, ids=lambda case: f"{case.rule}-{case.base}")
def test_a_cure_removes_its_finding_and_brings_no_other(tmp_path: Path, case: UnitCase) -> None:
    write(tmp_path, case.bad)
    before = findings(tmp_path)
    curable = {each.rule.name for each in before if each.complaint.cures}

    changed = fix(tmp_path)

    assert bool(changed) == bool(curable)
    after = findings(tmp_path)
    assert names(after) <= names(before) - (curable & {case.rule})


def test_only_the_lines_of_the_cure_change(tmp_path: Path) -> None:
    units = dict(BASES["app"])
    units["app.service"] = (
        units["app.service"].replace("Type=notify\n", "").replace("NonBlocking=yes", "NonBlocking = no")
    )
    write(tmp_path, units)

    (changed,) = fix(tmp_path)

    lines = [line for line in changed.difference().splitlines()[2:] if line.startswith(("+", "-"))]
    assert lines == ["-NonBlocking = no", "+NonBlocking=yes", "+Type=notify"]
    assert (tmp_path / "app.socket").read_text() == units["app.socket"]


def test_a_line_that_goes_on_is_replaced_as_a_whole(tmp_path: Path) -> None:
    bad = "ExecReload=/bin/kill \\\n  # why\n  -HUP $MAINPID\nTimeoutStopSec=60s"
    units = {**BASES["app"]}
    lines = [line for line in units["app.service"].splitlines() if not line.startswith("ExecReload=")]
    units["app.service"] = "\n".join(lines).replace("TimeoutStopSec=60s", bad) + "\n"
    write(tmp_path, units)

    fix(tmp_path)

    text = (tmp_path / "app.service").read_text()
    assert (
        "ExecReload=/usr/bin/env --block-signal=TERM /opt/%p/venv/bin/sockact reload\nTimeoutStopSec"
        in text
    )


def test_the_drop_in_with_the_mistake_is_changed_not_the_unit(tmp_path: Path) -> None:
    write(tmp_path, {**BASES["app"], "app.service.d/a.conf": "[Service]\nNonBlocking=no\n"})

    (changed,) = fix(tmp_path)

    assert changed.path.endswith("a.conf")
    assert Path(changed.path).read_text() == "[Service]\nNonBlocking=yes\n"


def test_the_file_of_a_package_gets_a_drop_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "OF_PACKAGES", (f"{tmp_path}/usr/",))
    monkeypatch.setattr(repair, "DROP_IN", f"{tmp_path}/{{manager}}/{{name}}.d/50-sockact-check.conf")
    unit = BASES["app"]["app.service"].replace("NonBlocking=yes\n", "")
    unit = unit.replace("ExecReload=/usr/bin/env --block-signal=TERM ", "ExecReload=")
    write(tmp_path / "usr", {**BASES["app"], "app.service": unit})

    (changed,) = fix(tmp_path / "usr")

    assert (tmp_path / "usr/app.service").read_text() == unit
    assert Path(changed.path).read_text() == (
        "[Service]\nExecReload=\n"
        "ExecReload=/usr/bin/env --block-signal=TERM /opt/%p/venv/bin/sockact reload\nNonBlocking=yes\n"
    )


def test_mode_and_links_stay(tmp_path: Path) -> None:
    write(tmp_path / "real", {"app.service": BASES["app"]["app.service"].replace("NonBlocking=yes\n", "")})
    (tmp_path / "real/app.service").chmod(0o640)
    (tmp_path / "units").mkdir()
    (tmp_path / "units/app.service").symlink_to("../real/app.service")

    fix(tmp_path / "units")

    assert (tmp_path / "units/app.service").is_symlink()
    assert (tmp_path / "real/app.service").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["app.service"]


def test_text_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    write(tmp_path, BASES["app"])
    file = tmp_path / "app.service"
    file.write_bytes(b"# \xff\xe4\n" + file.read_bytes().replace(b"NonBlocking=yes\n", b""))

    fix(tmp_path)

    assert file.read_bytes().startswith(b"# \xff\xe4\n")
    assert b"NonBlocking=yes" in file.read_bytes()


def test_a_file_that_cannot_be_written_is_an_error_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"app.service": BASES["app"]["app.service"].replace("NonBlocking=yes\n", "")})

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(repair.os, "replace", refuse)
    with pytest.raises(UnavailableError, match=r"app\.service cannot be written: Operation not permitted"):
        fix(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["app.service"]
