"""The part of the site that mkdocs cannot do: links that lead out of docs/.

The pages are written for readers of the checkout, and link to tests, units and the README. On the site each
file that a page links to has a page of its own below `source/`, so that links work wherever the site is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files of the project's top level that are pages of the site."""

HOME = "---\nhide:\n  - navigation\n---\n\n"
"""Of the first page: it has no column of pages beside it."""

LANGUAGES = {".py": "python", ".yml": "yaml", ".md": "markdown", ".sh": "bash", ".toml": "toml"}
"""Of the source pages; a file with another ending is a unit, or written like one."""

PICTURES = {".svg", ".png"}
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\)|\s+\")")
FENCE = re.compile(r"^ *(```+|~~~+)")
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
ARROW = re.compile(r"^ *(\w+) --> (\w+): (.*)$", re.MULTILINE)
NOT_TRACKED = {"__pycache__"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top level, and one for each file that a page links to."""
    for origin, target in PAGES.items():
        head = HOME if target == "index.md" else ""
        files.append(File.generated(config, target, content=head + (PROJECT / origin).read_text()))
    files.append(
        File.generated(config, "style.css", abs_src_path=str(Path(__file__).with_name("style.css")))
    )
    wanted = {path for file in files.documentation_pages() for path in _outside(file)}
    done: set[Path] = set()
    while wanted - done:
        path = min(wanted - done)
        done.add(path)
        wanted |= set(_entries(path)) if path.is_dir() else set()
        files.append(_source_file(path, config))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let the links of a page lead to where their files are on the site."""
    origin = _origin(page.file)
    if origin is None:
        return markdown
    return _outside_of_fences(
        DIAGRAM.sub(_as_table, markdown),
        lambda line: LINK.sub(lambda found: _moved(found, origin, page.file.src_uri), line),
    )


def _as_table(found: re.Match[str]) -> str:
    """Return a state diagram as a table: each reader would fetch mermaid from elsewhere."""
    rows = ["| from | to | when |", "|---|---|---|"]
    for before, after, reasons in ARROW.findall(found[1]):
        rows.append(f"| `{before}` | `{after}` | {reasons} |")
    return "\n".join(rows) + "\n"


def _moved(found: re.Match[str], origin: Path, uri: str) -> str:
    target = Path(posixpath.normpath(origin.parent / found[2]))
    if not target.exists():
        return found[0]
    return f"{found[1]}{posixpath.relpath(_uri(target), posixpath.dirname(uri) or '.')}{found[3] or ''}"


def _outside(file: File) -> Iterator[Path]:
    """Give the files outside of docs/ and of the pages to which a page links."""
    origin = _origin(file)
    if origin is None:
        return
    found: list[str] = []
    _outside_of_fences(
        origin.read_text(), lambda line: found.extend(each[2] for each in LINK.finditer(line)) or line
    )
    for link in found:
        target = Path(posixpath.normpath(origin.parent / link))
        if target.exists() and _uri(target).startswith("source/"):
            yield target


def _outside_of_fences(text: str, change: Any) -> str:
    lines, fence = [], ""
    for line in text.split("\n"):
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and line.strip() == fence:
            fence = ""
        lines.append(line if fence or found or line.startswith("    ") else change(line))
    return "\n".join(lines)


def _origin(file: File) -> Path | None:
    """Return the file of which a page is made; None for a source page."""
    for origin, target in PAGES.items():
        if file.src_uri == target:
            return PROJECT / origin
    return None if file.src_uri.startswith("source/") else PROJECT / "docs" / file.src_uri


def _uri(path: Path) -> str:
    """Return where a file of the project is on the site."""
    name = path.relative_to(PROJECT).as_posix()
    if name in PAGES:
        return PAGES[name]
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if path.suffix in PICTURES:
        return f"source/{name}"
    return f"source/{name}/index.md" if path.is_dir() else f"source/{name}.md"


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name not in NOT_TRACKED)


def _source_file(path: Path, config: Any) -> File:
    if path.suffix in PICTURES:
        return File.generated(config, _uri(path), abs_src_path=str(path))
    name = path.relative_to(PROJECT).as_posix()
    head = f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n\n# {name}\n\n"
    if path.is_dir():
        here = posixpath.dirname(_uri(path))
        body = "\n".join(
            f"- [{each.name}]({posixpath.relpath(_uri(each), here)})" for each in _entries(path)
        )
    else:
        body = f"``````{LANGUAGES.get(path.suffix, 'ini')}\n{path.read_text().rstrip()}\n``````"
    return File.generated(config, _uri(path), content=f"{head}{body}\n")
