"""The site builds strictly, from what is there: its links lead somewhere, and its pages fetch nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import pytest

from tests.support.manager import CHECKOUT

LIMIT = 600
KNOWN_ELSEWHERE = {"https://keepachangelog.com/en/1.1.0/", "https://systemd.io/PRESSURE"}
"""Links to other sites; they are not followed."""

PAGES = ("index", "first-service", "how-to/django", "settings", "commands", "why", "architecture")
"""Some that there must be: made of a file at the top, a page in a folder, of the code."""

FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
NO_NETWORK = "import socket; socket.getaddrinfo = socket.socket.connect = None; "
"""Whatever asks for a name, or connects, ends the build."""


class Links(HTMLParser):
    """The links of a page, what a browser fetches for it, and its anchors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag in FETCHED and values.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(values.get(FETCHED[tag], ""))
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])


def troubles(folder: Path) -> Iterator[str]:
    """Yield the links of a site that lead nowhere, and what its pages would fetch from elsewhere."""
    pages = {page: Links(page.read_text()) for page in sorted(folder.rglob("*.html"))}
    for page, content in pages.items():
        if page.name == "404.html":  # its links are those of the root, wherever that is
            continue
        shown = page.relative_to(folder)
        for link in {*content.links, *content.fetched}:
            if link.startswith(("http:", "https:", "//")):
                if link in content.fetched or link not in KNOWN_ELSEWHERE:
                    yield f"{shown}: {link} is elsewhere"
            elif not _is_there(link, page, pages):
                yield f"{shown}: {link} leads nowhere"


def _is_there(link: str, page: Path, pages: dict[Path, Links]) -> bool:
    path, _, anchor = unquote(link).partition("#")
    if path.startswith("data:"):
        return True
    target = (page.parent / path).resolve() if path else page
    if not target.is_file():
        return False
    return not anchor or anchor.startswith("__") or target not in pages or anchor in pages[target].anchors


def built(folder: Path) -> Path:
    """Build the site, without a network, in a folder."""
    arguments = ["build", "--strict", "--config-file", "docs/site/mkdocs.yml", "--site-dir", str(folder)]
    program = f"{NO_NETWORK}from mkdocs.__main__ import cli; cli({arguments})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# One test: a build takes seconds, and each process of pytest-xdist would make one for its share of several.
def test_it_builds_and_each_link_leads_somewhere_and_nothing_is_fetched(
    tmp_path: Path, lacking: Callable[[str], NoReturn]
) -> None:
    if not importlib.util.find_spec("material"):
        lacking("not installed: mkdocs-material (units/provision venv)")
    site = built(tmp_path.resolve())
    pages = {str(page.relative_to(site)): page.read_text() for page in site.rglob("*.html")}

    assert list(troubles(site)) == []
    assert [page for page in PAGES if "<h1" not in pages[f"{page}.html"]] == []
    assert [page for page, html in pages.items() if 'class="mermaid"' in html] == []


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="#gone">', "#gone leads nowhere"),
        ('<a href="index.html#gone">', "index.html#gone leads nowhere"),
        ('<a href="https://example.org/">', "https://example.org/ is elsewhere"),
        ('<script src="https://systemd.io/PRESSURE"></script>', "https://systemd.io/PRESSURE is elsewhere"),
        ('<img src="gone.png">', "gone.png leads nowhere"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path, html: str, found: str) -> None:
    (tmp_path / "index.html").write_text(f'<h1 id="here">{html}<a href="#here">')

    assert list(troubles(tmp_path)) == [f"index.html: {found}"]
