"""The environment of an app, as a service will find it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sockact.errors import UnitsError
from sockact.units import environment
from sockact.units.addresses import parse
from sockact.units.wanted import Wanted


@pytest.fixture
def opt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that a service can reach, with an app and its virtual environment."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    monkeypatch.setattr(environment, "HIDDEN", (str(tmp_path / "home"),))
    venv(tmp_path / "venv")
    return tmp_path


def venv(folder: Path, interpreter: str = "/usr/bin/env") -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(interpreter)
    (folder / "bin/sockact").write_text(f"#!{folder}/bin/python\n")
    (folder / "lib/python3.11/site-packages").mkdir(parents=True)


def wanted(opt: Path, user: str = "dynamic", **given: object) -> Wanted:
    return Wanted(
        given=given,
        name="shop",
        apps=["shop:app"],
        addresses=[parse("80")],
        venv=f"{opt}/venv",
        folder=str(opt),
        user=user,
    )


def test_an_environment_within_reach_is_accepted(opt: Path) -> None:
    environment.require_reachable(wanted(opt))


def test_an_interpreter_below_home_is_refused_with_the_cure(opt: Path) -> None:
    (opt / "home").mkdir()
    (opt / "home/python3").touch()
    (opt / "venv/bin/python").unlink()
    (opt / "venv/bin/python").symlink_to(opt / "home/python3")

    with pytest.raises(UnitsError, match=r"in .*/home, which the service cannot see") as caught:
        environment.require_reachable(wanted(opt))
    assert "/usr/bin/python3 -m venv /opt/shop/venv" in str(caught.value)


@pytest.mark.parametrize("path", ["home/venv", "home/app"])
def test_a_link_to_a_folder_below_home_is_refused(opt: Path, path: str) -> None:
    (opt / "home/app").mkdir(parents=True)
    if path == "home/venv":
        (opt / "venv").rename(opt / "home/venv")
        (opt / "venv").symlink_to(opt / "home/venv")
    request = wanted(opt)
    if path == "home/app":
        (opt / "link").symlink_to(opt / "home/app")
        request = Wanted(name="a", apps=[], addresses=[], venv=f"{opt}/venv", folder=f"{opt}/link")

    with pytest.raises(UnitsError, match=r"\(which is .* is in"):
        environment.require_reachable(request)


def test_a_moved_environment_names_the_interpreter_of_its_old_place(opt: Path) -> None:
    (opt / "home").mkdir()
    (opt / "venv/bin/sockact").write_text(f"#!{opt}/home/venv/bin/python\n")

    with pytest.raises(UnitsError, match="home/venv/bin/python is in"):
        environment.require_reachable(wanted(opt))


def test_a_package_that_is_linked_from_elsewhere_counts(opt: Path) -> None:
    linked = f"{opt}/home/checkout"
    (opt / "venv/lib/python3.11/site-packages/a.pth").write_text(f"import x\n{linked}\n")

    with pytest.raises(UnitsError, match="home/checkout is in"):
        environment.require_reachable(wanted(opt))


@pytest.mark.parametrize(
    ("mode", "user", "refused"),
    [(0o700, "dynamic", True), (0o710, "dynamic", True), (0o711, "dynamic", False), (0o700, "root", False)],
)
def test_permissions_are_those_of_the_services_user(opt: Path, mode: int, user: str, refused: bool) -> None:
    (opt / "venv").chmod(mode)
    if os.geteuid() and user == "root":
        pytest.skip("the files are not root's")
    if not refused:
        environment.require_reachable(wanted(opt, user))
        return
    with pytest.raises(UnitsError, match=rf"out of reach for the service's user: {opt}/venv is d"):
        environment.require_reachable(wanted(opt, user))


def test_what_is_on_another_machine_is_missing_and_not_out_of_reach() -> None:
    request = wanted(Path("/opt/of-another-machine"))
    environment.require_reachable(request)

    assert environment.missing(request) == [
        "/opt/of-another-machine/venv/bin/sockact",
        "/opt/of-another-machine",
    ]


def test_the_environment_of_the_app_comes_before_the_one_that_runs_this(opt: Path) -> None:
    assert environment.find_venv(str(opt)) == f"{opt}/venv"
    venv(opt / ".venv")
    assert environment.find_venv(str(opt)) == f"{opt}/.venv"
    assert environment.find_venv(str(opt / "home")) == sys.prefix


def test_an_environment_file_has_to_be_readable_for_the_service(opt: Path) -> None:
    file = opt / "env"
    file.write_text("A=b")
    environment.require_reachable(wanted(opt, env_file=[str(file), f"-{opt}/none"]))
    file.chmod(0o600)

    with pytest.raises(UnitsError, match=rf"--env-file: {file} is out of reach .* {file} is -rw-------"):
        environment.require_reachable(wanted(opt, env_file=[f"-{file}"]))


def test_a_user_who_is_not_there_is_told(opt: Path) -> None:
    environment.require_user(wanted(opt))
    environment.require_user(wanted(opt, "nobody"))
    with pytest.raises(UnitsError, match="no-such-user: there is no such user"):
        environment.require_user(wanted(opt, "no-such-user"))
