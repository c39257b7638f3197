"""Files that count when they change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sockact.activate.watch import FileWatch, summary
from sockact.cli.dev import PATTERNS
from sockact.errors import UnavailableError, UsageError


def counted(watch: FileWatch, root: Path, *names: str) -> list[str]:
    """Return those of the names in the watched folder that count."""
    wanted = watch._filter(watch._folders())
    return [name for name in names if wanted(None, str(root.resolve() / name))]


def test_caches_repositories_and_temporary_files_do_not_count(tmp_path: Path) -> None:
    names = ("a.txt", ".git/index", "x/__pycache__/a.pyc", ".venv/a.py", "a.py~", ".a.py.swp", "x/b.py")

    assert counted(FileWatch([str(tmp_path)]), tmp_path, *names) == ["a.txt", "x/b.py"]


def test_a_virtual_environment_does_not_count_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    watch = FileWatch([str(tmp_path)])
    assert counted(watch, tmp_path, "env/lib/a.py") == ["env/lib/a.py"]

    (tmp_path / "env/pyvenv.cfg").touch()

    assert counted(watch, tmp_path, "env/lib/a.py") == []


def test_a_folder_inside_of_such_a_place_counts_if_it_is_named_itself(tmp_path: Path) -> None:
    root = tmp_path / ".venv" / "src"
    root.mkdir(parents=True)
    (root.parent / "pyvenv.cfg").touch()

    assert counted(FileWatch([str(root)]), root, "app.py") == ["app.py"]


def test_of_an_app_what_it_is_made_of_counts_and_not_what_it_writes(tmp_path: Path) -> None:
    names = ("app.py", "templates/a b.html", ".env", "pyproject.toml", "db.sqlite3", "log.txt", "data.json")

    assert counted(FileWatch([str(tmp_path)], PATTERNS), tmp_path, *names) == list(names[:4])


def test_a_link_is_watched_as_such_and_so_is_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "releases/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")

    watch = FileWatch([str(tmp_path / "current")])

    assert watch._names() == {str(tmp_path.resolve() / "current")}
    assert watch._folders() == {str((tmp_path / "releases/1").resolve())}


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/missing: expected a file or a folder to watch, found none"):
        FileWatch([str(tmp_path / "missing")])


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    with pytest.raises(UnavailableError, match=r"watchfiles.*pip install 'sockact\[dev\]'"):
        FileWatch(["."])


def test_many_files_are_named_in_a_few_words() -> None:
    assert summary(["a", "b"]) == "a, b"
    assert summary(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
