"""Releases behind a link: which one was before, and the switch of the link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sockact.cli.releases import Releases, predecessor
from sockact.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with three releases, of which the second is served."""
    for name in ("41", "42", "43"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/42")
    return tmp_path


@pytest.fixture
def releases(folder: Path) -> Iterator[Releases]:
    with closing(Releases(str(folder / "current"))) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "others", "before"),
    [
        ("43", ["41", "42", "44"], "42"),
        ("10", ["9", "8"], "9"),
        ("v1.10", ["v1.9", "v1.2", "v2.0"], "v1.9"),
        ("2026-11-30T08-00", ["2026-11-29T20-15", "2026-12-01T00-00"], "2026-11-29T20-15"),
        ("43", ["44", "old", "v42"], None),
        ("stable", ["older"], None),
        ("3f2a", ["3f2a-before", "9c1b"], None),
    ],
)
def test_the_release_before_is_told_by_numbers_alone(
    name: str, others: list[str], before: str | None
) -> None:
    assert predecessor(name, others) == before


def test_the_link_leads_to_the_release_before_in_the_same_form(folder: Path, releases: Releases) -> None:
    assert releases.before(None) == "releases/41"

    releases.switch("releases/42", "releases/41")

    assert os.readlink(folder / "current") == "releases/41"
    assert sorted(each.name for each in folder.iterdir()) == ["current", "releases"]


def test_an_absolute_target_stays_absolute(folder: Path, releases: Releases) -> None:
    (folder / "current").unlink()
    (folder / "current").symlink_to(folder / "releases/43")

    assert releases.before(None) == str(folder / "releases/42")


def test_a_release_is_chosen_by_its_name(releases: Releases) -> None:
    assert releases.before("43") == "releases/43"
    with pytest.raises(UsageError, match="44 is no other release than 42: releases has 41, 43"):
        releases.before("44")
    with pytest.raises(UsageError, match="42 is no other release than 42"):
        releases.before("42")


def test_where_no_release_was_before_nothing_is_done(folder: Path, releases: Releases) -> None:
    (folder / "releases/41").rmdir()
    with pytest.raises(UsageError, match="before 42 by its name: releases has 43; choose one by --to"):
        releases.before(None)
    (folder / "releases/43").rmdir()
    (folder / "releases/41").symlink_to("42")  # no release, but another name
    with pytest.raises(UsageError, match="no release before 42: releases has no other one"):
        releases.before(None)


def test_a_link_that_was_switched_meanwhile_is_left_alone(folder: Path, releases: Releases) -> None:
    with pytest.raises(UsageError, match="leads to releases/42 by now: expected releases/43"):
        releases.switch("releases/43", "releases/41")
    assert os.readlink(folder / "current") == "releases/42"


def test_what_is_no_link_is_refused(folder: Path) -> None:
    with closing(Releases(str(folder / "releases"))) as found, pytest.raises(UsageError, match="Invalid"):
        found.target()
    with closing(Releases(str(folder / "gone"))) as found, pytest.raises(UsageError, match="No such file"):
        found.target()


@pytest.mark.parametrize("link", ["current", "/current", "/opt/../current"])
def test_a_path_that_does_not_say_where_is_refused(link: str) -> None:
    with pytest.raises(UsageError, match="expected the absolute path of a link"):
        Releases(link)


def test_a_folder_on_the_way_that_is_a_link_is_refused(folder: Path) -> None:
    (folder / "aside").symlink_to(folder)

    with pytest.raises(UsageError, match="expected folders, and no links: Not a directory"):
        Releases(str(folder / "aside" / "current"))


def test_a_folder_that_any_user_may_change_is_refused(folder: Path) -> None:
    folder.chmod(0o777)

    with pytest.raises(UsageError, match="any user may change"):
        Releases(str(folder / "current"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_switches_as_the_owner_of_the_folder_and_can_do_no_more(folder: Path) -> None:
    for each in (folder, folder / "releases"):
        os.chown(each, 1234, 1234)
    with closing(Releases(str(folder / "current"))) as releases:
        releases.switch("releases/42", releases.before(None))
        assert os.lstat(folder / "current").st_uid == 1234
        assert (os.geteuid(), os.getegid()) == (0, 0)

        folder.chmod(0o500)  # which would not keep root from it
        with pytest.raises(UsageError, match="cannot be switched to releases/43: Permission denied"):
            releases.switch("releases/41", "releases/43")
    assert os.readlink(folder / "current") == "releases/41"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_folder_of_a_third_user_on_the_way_is_refused(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "current").symlink_to("releases/42")
    os.chown(folder, 1234, 1234)

    with pytest.raises(UsageError, match="of its owner and of root, found one of uid 1234"):
        Releases(str(inner / "current"))
