"""The app that is meant by what people write; nothing is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sockact.apps import reference
from sockact.apps.reference import Reference
from sockact.errors import UsageError

Write = Callable[..., None]

APP = "async def app(scope, receive, send): ...\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that writes files by their names; `__` stands for a slash."""

    def write(**sources: str) -> None:
        for name, source in sources.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)

    return write


@pytest.mark.parametrize(
    "word", ["main", "main.py", "./main.py", "main:app", "main.py:app", "./main.py:app", "main.app"]
)
def test_a_file_or_a_module_means_its_app(tmp_path: Path, write: Write, word: str) -> None:
    write(main=f"raise SystemExit('imported')\n{APP}")

    assert reference.complete(word, str(tmp_path)) == Reference("main:app")


@pytest.mark.parametrize("word", ["pkg/main.py", "./pkg/main.py:app", "pkg.main", "pkg.main.app"])
def test_a_module_may_be_in_a_package(tmp_path: Path, write: Write, word: str) -> None:
    write(pkg__main=APP)

    assert reference.complete(word, str(tmp_path)) == Reference("pkg.main:app")


@pytest.mark.parametrize("word", ["pkg", "pkg/__init__.py"])
def test_a_package_may_be_the_module(tmp_path: Path, write: Write, word: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text("from .web import application")

    assert reference.complete(word, str(tmp_path)) == Reference("pkg:application")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("app = make()", Reference("main:app")),
        ("app: Flask = Flask(__name__)", Reference("main:app")),
        ("from web import app", Reference("main:app")),
        ("from web import site as application", Reference("main:application")),
        (
            "try:\n    import x\nexcept ImportError: ...\nelse:\n    app = x.y()",
            Reference("main:app"),
        ),
        ("if True:\n    app = 1", Reference("main:app")),
        ("with x as y:\n    application = 1", Reference("main:application")),
        ("class app: ...", Reference("main:app")),
        ("application = app = 1", Reference("main:app")),
        ("def create_app(): ...", Reference("main:create_app", factory=True)),
        ("def create_app(config=None): ...", Reference("main:create_app", factory=True)),
        ("def create_app(config=None, *, x=1): ...\napp = 1", Reference("main:app")),
    ],
)
def test_an_app_has_one_of_the_usual_names(
    tmp_path: Path, write: Write, source: str, found: Reference
) -> None:
    write(main=source)

    assert reference.complete("main", str(tmp_path)) == found
    assert reference.find(str(tmp_path)) == found


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def create_app(config): ...",
        "def create_app(*, config): ...",
        "app: Flask",
        "def f():\n    app = 1",
        "app = (",
        "\0",
    ],
)
def test_a_file_without_an_app_is_named(tmp_path: Path, write: Write, source: str) -> None:
    write(main=source)

    with pytest.raises(UsageError, match=r"'main': expected module:attribute, .*/main.py has none of app,"):
        reference.complete("main", str(tmp_path))
    with pytest.raises(UsageError, match="no app: expected MODULE:ATTRIBUTE"):
        reference.find(str(tmp_path))


def test_an_attribute_after_a_dot_has_to_be_there(tmp_path: Path, write: Write) -> None:
    write(main="site = 1")

    assert reference.complete("main.site", str(tmp_path)) == Reference("main:site")
    with pytest.raises(UsageError, match="'main:app': expected module:attribute"):
        reference.complete("main.app", str(tmp_path))


@pytest.mark.parametrize("word", ["mian", "mian.py", "a/b.py", "..", "/", "a b", "mäin", "\0", ""])
def test_a_word_that_means_nothing_is_refused(tmp_path: Path, write: Write, word: str) -> None:
    write(main=APP)

    with pytest.raises(UsageError, match="expected module:attribute"):
        reference.complete(word, str(tmp_path))


def test_the_best_file_is_taken(tmp_path: Path, write: Write) -> None:
    write(wsgi="application = 1", main="site = 1", manage="app = 1")

    assert reference.find(str(tmp_path)) == Reference("wsgi:application")


def test_a_project_of_django_has_its_app_beside_its_settings(tmp_path: Path, write: Write) -> None:
    write(manage="os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings.production')")

    assert reference.find(str(tmp_path)) == Reference("shop.wsgi:application")


def test_a_directory_that_cannot_be_read_has_no_app(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no app: .*/missing"):
        reference.find(str(tmp_path / "missing"))
