"""Libraries that a distribution's package brings along are found before others of their names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sockact.system import bundled
from sockact.system.bundled import BundledFinder
from tests.support.manager import CHECKOUT


@pytest.fixture
def finder(tmp_path: Path) -> BundledFinder:
    (tmp_path / "json").mkdir()
    (tmp_path / "json/__init__.py").write_text("")
    return BundledFinder(str(tmp_path))


def test_a_package_of_the_folder_is_found_there(finder: BundledFinder, tmp_path: Path) -> None:
    found = finder.find_spec("json", None)

    assert found is not None
    assert found.origin == str(tmp_path / "json/__init__.py")


@pytest.mark.parametrize(
    ("name", "path"), [("email", None), ("other.json", ["/nowhere"]), ("json", ["/x"])]
)
def test_all_else_is_found_elsewhere(finder: BundledFinder, name: str, path: list[str] | None) -> None:
    assert finder.find_spec(name, path) is None


def test_a_wheel_and_a_checkout_bring_nothing() -> None:
    assert not os.path.exists(bundled.FOLDER)
    code = (
        "import sys, sockact; print([each for each in sys.meta_path if 'sockact' in type(each).__module__])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
