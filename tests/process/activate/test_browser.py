"""The page of docs/dev.md in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.activated import Activated
from tests.support.manager import CHECKOUT, LIMIT, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is missing")

SCRIPT = (CHECKOUT / "docs/dev.md").read_text().partition("```html\n")[2].partition("```")[0]
APP = """
VERSION = 1
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [f"<title>version {VERSION}</title>".encode(), SCRIPT]
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "profile"


@pytest.fixture
def browser(activated: Activated, profile: Path) -> Iterator[int]:
    """Start the app, open its page in a browser, and give the port on which the browser tells its state."""
    (activated.folder / "app.py").write_text(f"SCRIPT = {SCRIPT.encode()!r}\n{APP}")
    activated.start("dev", "--listen=127.0.0.1:0", "--reload-page", "--access-log", "app:app")
    url = activated.wait_line(r"dev: serves (\S+) until Ctrl-C")[1]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command = ["chromium", *options, f"--user-data-dir={profile}", url]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=null, stderr=null) as process:
        try:
            yield int(wait_until(lambda: told(profile)).split()[0])
        finally:
            process.terminate()


def told(profile: Path) -> str:
    """Return what the browser has written about its port, if it has."""
    try:
        return (profile / "DevToolsActivePort").read_text()
    except FileNotFoundError:
        return ""


def titles(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=LIMIT) as answer:
        pages = json.load(answer)
    return [page["title"] for page in pages if page["type"] == "page"]


def test_a_page_reloads_itself(activated: Activated, browser: int) -> None:
    app = activated.folder / "app.py"
    wait_until(lambda: titles(browser) == ["version 1"])
    for _ in range(2):  # it asks again when it knows the first code
        activated.wait_line(r".*/__sockact/reload.*")

    app.write_text(app.read_text().replace("VERSION = 1", "VERSION = 2"))

    wait_until(lambda: titles(browser) == ["version 2"])
