"""Units are found by name, as files, in folders, and by drop-ins, each with those that belong to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sockact.check import targets
from sockact.errors import UsageError
from sockact.systemd import systemctl, unit_files
from tests.support.unit_cases import BASES, write


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of the administrator, among those of a manager of systemd 252."""
    folders = [f"{tmp_path}/{name}" for name in ("a", "b", "c", "d", "etc", "usr")]
    monkeypatch.setattr(unit_files, "SYSTEM", folders)
    monkeypatch.setattr(systemctl, "version", lambda: 252)
    write(tmp_path / "etc", BASES["app"])
    write(tmp_path / "usr", {**BASES["gunicorn"], **BASES["template"]})
    write(tmp_path / "elsewhere", BASES["uvicorn"])
    return tmp_path / "etc"


def chosen(*words: object, here: bool = False, version: int | None = None) -> list[str]:
    found = targets.select(list(map(str, words)), {}, user=False, here=here, version=version)
    return [unit.name for _, unit in found]


def test_without_words_those_of_the_administrator_are_checked(etc: Path) -> None:
    (etc / "shop.service").symlink_to("../usr/shop.service")  # as `systemctl enable` makes links
    (etc / "other.timer").write_text("")

    assert chosen() == ["app.service", "app.socket"]


@pytest.mark.parametrize("word", ["app", "app.service", "app.socket", "{etc}/app.socket", "{etc}"])
def test_a_pair_is_found_by_either_of_them(etc: Path, word: str) -> None:
    assert sorted(chosen(word.format(etc=etc))) == ["app.service", "app.socket"]


def test_a_unit_has_precedence_over_a_folder_of_its_name(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc.parent / "elsewhere/app").mkdir()
    monkeypatch.chdir(etc.parent / "elsewhere")

    assert chosen("app") == ["app.service", "app.socket"]
    assert chosen("./app") == []


def test_a_unit_that_is_named_twice_is_checked_once(etc: Path) -> None:
    assert chosen("app", "app.socket", f"{etc}/app.service") == ["app.service", "app.socket"]


def test_a_drop_in_stands_for_its_unit(etc: Path) -> None:
    write(etc, {"app.service.d/a.conf": "[Service]\n", "nothing.service.d/a.conf": "[Service]\n"})

    assert chosen(f"{etc}/app.service.d/a.conf") == ["app.service", "app.socket"]
    with pytest.raises(
        UsageError, match=r"a\.conf is a drop-in of nothing\.service, and .*/etc has no such unit"
    ):
        chosen(f"{etc}/nothing.service.d/a.conf")


def test_an_alias_stands_for_its_unit(etc: Path) -> None:
    (etc / "web.service").symlink_to("app.service")

    assert chosen("web") == ["app.service", "app.socket"]


def test_an_instance_and_a_template_are_found(etc: Path) -> None:
    assert chosen("app@8001") == ["app@8001.service", "app@8001.socket"]
    assert chosen("app@.service") == ["app@.service", "app@.socket"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nothing", "no such unit is here"),
        ("./nothing.service", "there is no such file"),
        ("app.timer", "no such unit"),
        ("{etc}/x.timer", "expected a service or a socket unit"),
        ("masked", "or it is masked"),
        ("", "no such unit"),
        ("a\nb", "no such unit"),
    ],
)
def test_what_is_no_unit_is_an_error_that_says_so(etc: Path, word: str, said: str) -> None:
    (etc / "x.timer").write_text("")
    (etc / "masked.service").symlink_to("/dev/null")

    with pytest.raises(UsageError, match=said):
        chosen(word.format(etc=etc))


def test_only_units_of_this_machine_are_checked_for_its_systemd_and_its_files(etc: Path) -> None:
    def scope(word: str, **options: object) -> tuple[bool, int | None]:
        settings = {"here": False, "version": None, **options}
        ((found, _), *_) = targets.select([word], {}, user=False, **settings)  # type: ignore[arg-type]
        return found.here, found.version

    file = str(etc.parent / "elsewhere/api.service")
    assert scope("app") == (True, 252)
    assert scope(f"{etc}/app.service") == (True, 252)
    assert scope(file) == (False, None)
    assert scope(file, here=True) == (True, 252)
    assert scope(file, version=257) == (False, 257)
    assert scope("app", version=257) == (True, 257)


def test_units_of_a_user_are_found_in_the_users_folders(tmp_path: Path) -> None:
    write(tmp_path / "systemd/user", BASES["uvicorn"])
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/", "XDG_RUNTIME_DIR": "/nowhere"}

    found = targets.select([], environ, user=True, here=False, version=None)

    assert [unit.name for _, unit in found] == ["api.service"]


def test_without_words_and_without_the_folder_nothing_is_checked(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "none"), "HOME": "/", "XDG_RUNTIME_DIR": "/nowhere"}

    assert targets.select([], environ, user=True, here=False, version=None) == []


def test_a_fifo_in_a_folder_does_not_hold_up_the_check(etc: Path) -> None:
    os.mkfifo(etc / "pipe.service")

    found = targets.select([str(etc)], {}, user=False, here=False, version=None)

    assert {unit.name: bool(unit.written) for _, unit in found} == {
        "app.service": True,
        "app.socket": True,
        "pipe.service": False,
    }
