"""The rules about files of this machine: programs, permissions, users, and the app itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.check import reachable
from tests.support.unit_cases import findings, names

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
UNIT = """[Service]
Type=notify
User={user}
ExecStart={folder}/venv/bin/sockact run --chdir {folder}/code shop:app
"""
FILES = {"program-missing", "program-out-of-reach", "root-runs-foreign-files", "app-not-importable"}
OURS = FILES | {
    *("environment-file-missing", "file-unreadable", "environment-file-open", "working-directory-missing"),
    *("credential-missing", "user-missing", "root-is-loaded-with-foreign-files"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that every user can reach, unlike pytest's own, with a service in it that works."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "venv/bin").mkdir(parents=True)
    (folder / "venv/lib/python3.11/site-packages/sockact").mkdir(parents=True)
    (folder / "venv/bin/python3").symlink_to("/bin/sh")
    program(folder, f"#!{folder}/venv/bin/python3\n")
    (folder / "code").mkdir()
    (folder / "code/shop.py").write_text("app = 1\n")
    write(folder)
    yield folder
    shutil.rmtree(folder)


def program(folder: Path, text: str, mode: int = 0o755) -> None:
    path = folder / "venv/bin/sockact"
    path.write_text(text)
    path.chmod(mode)


def write(folder: Path, more: str = "", user: str = "root") -> None:
    (folder / "shop.service").write_text(UNIT.format(folder=folder, user=user) + more)


def found(folder: Path) -> set[str]:
    return names(findings(folder, here=True)) & OURS


@ROOT
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_service_whose_files_are_in_order_has_no_finding(folder: Path, user: str) -> None:
    write(folder, user=user)

    assert found(folder) == set()


@pytest.mark.parametrize(
    ("text", "mode"),
    [("#!/bin/sh\n", 0o644), ("#!/opt/moved/venv/bin/python3\n", 0o755)],
    ids=["mode", "moved"],
)
def test_a_program_that_cannot_run_is_found(folder: Path, text: str, mode: int) -> None:
    program(folder, text, mode)

    assert "program-missing" in found(folder)


def test_a_missing_program_is_found_but_not_one_that_may_be_missing(folder: Path) -> None:
    write(folder, "ExecStartPre=/nowhere/migrate\n")
    assert "program-missing" in found(folder)

    write(folder, "ExecStartPre=-/nowhere/migrate\nExecStartPre=true\nExecStartPre=%h/x\n")
    assert "program-missing" not in found(folder)


def test_a_program_whose_presence_is_a_condition_may_be_missing(folder: Path) -> None:
    write(folder, "ExecStartPre=/nowhere/migrate\n[Unit]\nConditionFileIsExecutable=/nowhere/migrate\n")

    assert "program-missing" not in found(folder)


def test_nothing_is_looked_for_where_the_units_are_of_another_machine(folder: Path) -> None:
    write(folder, "ExecStartPre=/nowhere/migrate\nEnvironmentFile=/nowhere\n")

    assert names(findings(folder)) & OURS == set()


@ROOT
def test_a_program_in_a_closed_folder_is_found(folder: Path) -> None:
    (folder / "venv").chmod(0o700)
    write(folder, user="nobody")

    assert "program-out-of-reach" in found(folder)


def test_an_interpreter_in_a_hidden_home_is_found_through_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachable, "HOMES", (str(folder / "home"),))
    (folder / "home").mkdir()
    shutil.copy("/bin/sh", folder / "home/python3")
    python = folder / "venv/bin/python3"
    python.unlink()
    python.symlink_to("../../link/python3")
    (folder / "link").symlink_to("home")
    write(folder)
    assert "program-out-of-reach" not in found(folder)

    for home in ("yes", "tmpfs"):
        write(folder, f"User=nobody\nProtectHome={home}\n")
        assert "program-out-of-reach" in found(folder)


@ROOT
def test_root_that_runs_what_others_may_change_is_found(folder: Path) -> None:
    os.chown(folder / "code", 65534, 65534)
    assert "root-runs-foreign-files" in found(folder)

    write(folder, user="nobody")
    assert "root-runs-foreign-files" not in found(folder)

    write(folder, f"ExecStartPre=+{folder}/code/prepare\n", user="nobody")
    script = folder / "code/prepare"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert "root-runs-foreign-files" in found(folder)


@ROOT
@pytest.mark.parametrize("change", ["owner", "mode", "link"])
def test_each_part_of_the_way_to_a_program_counts(folder: Path, change: str) -> None:
    binaries = folder / "venv/bin"
    if change == "owner":
        os.chown(folder / "venv", 65534, 0)
    elif change == "mode":
        binaries.chmod(0o777)
    else:
        os.lchown(binaries / "python3", 65534, 0)

    assert "root-runs-foreign-files" in found(folder)


def test_files_that_systemd_reads_must_exist(folder: Path) -> None:
    write(
        folder, "EnvironmentFile=/nowhere/env\nLoadCredential=a:/nowhere/key\nWorkingDirectory=/nowhere\n"
    )
    assert found(folder) >= {"environment-file-missing", "credential-missing", "working-directory-missing"}

    write(
        folder,
        f"EnvironmentFile=-/nowhere/env\nLoadCredential=a:{folder}/shop.service\nWorkingDirectory={folder}\n",
    )
    assert (
        found(folder) & {"environment-file-missing", "credential-missing", "working-directory-missing"}
        == set()
    )


@ROOT
def test_an_environment_file_must_be_readable_for_the_service_and_not_for_all(folder: Path) -> None:
    secret = folder / "env"
    secret.write_text("DATABASE_PASSWORD=x\n")
    unit = UNIT.replace("run ", "run --env-file={folder}/env ").format(folder=folder, user="nobody")
    (folder / "shop.service").write_text(unit)
    secret.chmod(0o600)
    assert "file-unreadable" in found(folder)
    os.chown(secret, 65534, 0)
    assert "file-unreadable" not in found(folder)

    write(folder, f"EnvironmentFile={secret}\n")
    assert "environment-file-open" not in found(folder)
    secret.chmod(0o644)
    assert "environment-file-open" in found(folder)


@pytest.mark.parametrize("line", ["User=nosuch", "Group=nosuch", "SupplementaryGroups=root nosuch"])
def test_users_and_groups_must_exist(folder: Path, line: str) -> None:
    write(folder, f"{line}\n")
    assert "user-missing" in found(folder)

    write(folder, "User=%i\nDynamicUser=yes\n")
    assert "user-missing" not in found(folder)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("app = = 1\n", "line 1"),
        ("def main():\n    app = 1\n", "has no app"),
        ("import app.other as x\n", "has no app"),
        (None, "there is no shop"),
    ],
)
def test_an_app_that_cannot_be_imported_is_found(folder: Path, code: str | None, reason: str) -> None:
    path = folder / "code/shop.py"
    path.unlink()
    if code is not None:
        path.write_text(code)

    (finding,) = [each for each in findings(folder, here=True) if each.rule.name == "app-not-importable"]

    assert reason in finding.complaint.text


@pytest.mark.parametrize(
    "code",
    [
        "def app(scope): ...\n",
        "from other import app\n",
        "from other import *\n",
        "try:\n    import app\nexcept ImportError:\n    pass\n",
        "app: object = 1\n",
        "a, (b, app) = 1, (2, 3)\n",
        "if True:\n    with open('x') as app:\n        pass\n",
        "def __getattr__(name): ...\n",
        "globals()['app'] = 1\n",
    ],
)
def test_an_app_that_may_be_there_is_no_finding(folder: Path, code: str) -> None:
    (folder / "code/shop.py").write_text(code)

    assert "app-not-importable" not in found(folder)


def test_an_app_in_a_package_or_among_the_installed_ones_is_no_finding(folder: Path) -> None:
    (folder / "code/shop.py").unlink()
    (folder / "code/shop").mkdir()
    (folder / "code/shop/__init__.py").write_text("")
    assert "app-not-importable" in found(folder)
    (folder / "code/shop/app.py").write_text("")
    assert "app-not-importable" not in found(folder)

    shutil.rmtree(folder / "code/shop")
    (folder / "venv/lib/python3.11/site-packages/shop.py").write_text("app = 1\n")
    assert "app-not-importable" not in found(folder)


def test_no_code_of_the_app_is_run(folder: Path) -> None:
    trace = folder / "trace"
    (folder / "code/shop.py").write_text(f"open({str(trace)!r}, 'w')\napp = 1\n")

    assert found(folder) & FILES - {"root-runs-foreign-files"} == set()
    assert not trace.exists()


def test_odd_files_in_place_of_the_app_do_not_hang_or_fail(folder: Path) -> None:
    path = folder / "code/shop.py"
    path.unlink()
    os.mkfifo(path)
    assert "app-not-importable" in found(folder)  # no file: there is no such module

    path.unlink()
    path.write_text("(" * 5000)
    assert "app-not-importable" in found(folder)
    path.write_bytes(b"\xff\xfe\0")
    assert "app-not-importable" in found(folder)


def test_a_library_that_writes_code_at_run_time_is_found(folder: Path) -> None:
    write(folder, "MemoryDenyWriteExecute=yes\n")
    assert "code-cannot-be-written" not in names(findings(folder, here=True))

    (folder / "venv/lib/python3.11/site-packages/numba").mkdir()
    assert "code-cannot-be-written" in names(findings(folder, here=True))


@ROOT
@pytest.mark.parametrize(
    ("more", "owner", "expected"),
    [
        ("ExecStop=+/usr/bin/env -i true\n", 65534, True),
        ("ExecStop=+/usr/bin/env -i true\n", 0, False),
        ("ExecStop=/usr/bin/env -i true\n", 65534, False),
        ("ExecStop=+/usr/bin/env -i true\nUnsetEnvironment=LD_AUDIT LD_PRELOAD\n", 65534, False),
    ],
    ids=["of another user", "of root", "not run by root", "unset"],
)
def test_variables_of_another_user_for_what_root_runs_are_found(
    folder: Path, more: str, owner: int, expected: bool
) -> None:
    (folder / "env").write_text("A=1\n")
    os.chown(folder / "env", owner, owner)
    write(folder, f"EnvironmentFile={folder}/env\n{more}", user="nobody")

    assert ("root-is-loaded-with-foreign-files" in found(folder)) is expected
