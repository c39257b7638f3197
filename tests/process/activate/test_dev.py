"""`sockact dev`: an app is reloaded when its files change, and a broken one changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.activated import Activated
from tests.support.gate import install
from tests.support.http_client import Client, get
from tests.support.manager import wait_until
from tests.support.processes import workers

READY = r".* gen {} is ready"
TRACEBACK = "SyntaxError: invalid syntax\n"
"""The last line of it."""


def start(activated: Activated, *words: str, **environ: str) -> tuple[str, int]:
    """Start the app, wait until it is ready, and return its address."""
    activated.start("dev", "--listen=127.0.0.1:0", *words, "app:app", **environ)
    host, port = activated.wait_line(r"dev: serves http://(\S+):(\d+) until Ctrl-C").groups()
    return host, int(port)


def version(where: tuple[str, int]) -> object:
    return get(where).json["version"]


def break_app(activated: Activated) -> None:
    (activated.folder / "app.py").write_text("def app(:\n")


@pytest.fixture
def dev(activated: Activated) -> Activated:
    install(activated.folder)
    return activated


def test_a_change_is_served_and_no_connection_is_closed(dev: Activated) -> None:
    where = start(dev)
    dev.wait_line(READY.format(1))
    with Client(where) as client:
        assert client.get().json["version"] == "1"
        install(dev.folder, "2")
        dev.wait_line("dev: change of app.py: reloads the program")
        wait_until(lambda: not (answer := client.get()).closes and answer.json["version"] == "2")

    dev.signal(signal.SIGINT)
    assert dev.wait_exit() == 0
    assert not (dev.folder / "__pycache__").exists()  # it might be taken for that of a later change


def test_a_syntax_error_is_shown_once_and_the_old_code_goes_on(dev: Activated) -> None:
    where = start(dev)
    dev.wait_line(READY.format(1))

    break_app(dev)

    dev.wait_line(".* reload failed: app cannot be imported: SyntaxError: .*")
    assert dev.log().count(TRACEBACK) == 1
    assert version(where) == "1"
    install(dev.folder, "2")
    wait_until(lambda: version(where) == "2")


def test_an_app_that_does_not_start_is_tried_again_when_it_has_changed(dev: Activated) -> None:
    break_app(dev)
    where = start(dev)
    dev.wait_line(r"dev: pid \d+ exited with status 1")
    dev.wait_line("dev: starts it again when a file changes")
    assert dev.log().count(TRACEBACK) == 1
    with Client(where) as client:
        client.ask()  # it waits in the socket's queue

        install(dev.folder, "2")

        assert client.read().json["version"] == "2"


def test_a_change_during_a_start_that_fails_is_tried_too(dev: Activated) -> None:
    fifo = dev.folder.parent / "fifo"
    os.mkfifo(fifo)
    (dev.folder / "app.py").write_text(f"open({str(fifo)!r}).read()\nraise RuntimeError\n")
    where = start(dev)
    with fifo.open("w"):  # opened by the app as well, by now
        install(dev.folder, "2")
        dev.wait_line("dev: change of app.py: reloads the program")
    dev.wait_line(r"dev: pid \d+ exited with status 1")

    assert version(where) == "2"


def test_a_burst_of_changes_is_one_reload_or_few_and_others_are_none(dev: Activated) -> None:
    where = start(dev)
    dev.wait_line(READY.format(1))
    for name in ("db.sqlite3", ".git/index.py", "__pycache__/app.py", "env/pyvenv.cfg", "env/a.py"):
        path = dev.folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.kill(dev.pid, signal.SIGSTOP)
    for number in range(100):
        (dev.folder / f"module{number}.py").touch()
    install(dev.folder, "2")
    os.kill(dev.pid, signal.SIGCONT)

    wait_until(lambda: version(where) == "2")
    changes = re.findall(r"dev: change of (.*): reloads the program", dev.log())
    # One, where the thread that watches has read all that waited before the next one looks.
    assert 1 <= len(changes) <= 10
    assert not any(name in change for change in changes for name in ("sqlite3", "index", "pyvenv", "a.py "))
    (dev.folder / "app.py").touch()
    dev.wait_line(r"dev: change of app.py: reloads the program")


def test_a_page_learns_of_new_code(dev: Activated) -> None:
    where = start(dev, "--reload-page", "--workers=2")
    dev.wait_line(r".* gen 1 is ready")
    before = [get(where, "/__sockact/reload") for _ in range(4)]
    (body,) = {answer.body for answer in before}
    with Client(where) as client:
        client.get("/__sockact/reload")
        install(dev.folder, "2")
        after = wait_until(lambda: client.get("/__sockact/reload").body.replace(body, b""))

    assert before[0].headers["content-type"] == "text/event-stream"
    assert body.startswith(b"retry: 500\ndata: ")
    assert after.startswith(b"retry: 500\ndata: ")


def test_the_path_is_the_apps_unless_it_is_asked_for(dev: Activated) -> None:
    where = start(dev)

    assert get(where, "/__sockact/reload").json["version"] == "1"


def test_the_project_s_settings_for_production_do_not_count(dev: Activated) -> None:
    (dev.folder / "pyproject.toml").write_text("[tool.sockact]\nworkers = 3\nprobation = '1h'\n")
    start(dev, SOCKACT_LOG_LEVEL="error")
    supervisor = dev.started()
    dev.wait_line(READY.format(1))

    assert len(workers(supervisor)) == 1


def test_no_process_that_serves_has_what_watches(dev: Activated) -> None:
    start(dev)
    supervisor = dev.started()
    dev.wait_line(READY.format(1))

    assert "watchfiles" in Path(f"/proc/{dev.pid}/maps").read_text()
    for pid in (supervisor, *workers(supervisor)):
        assert "watchfiles" not in Path(f"/proc/{pid}/maps").read_text()


def test_a_folder_beside_is_watched_where_it_is_asked_for(dev: Activated) -> None:
    beside = dev.folder.parent / "beside"
    beside.mkdir()
    start(dev, f"--watch={beside}", "--include=*.sql")
    dev.wait_line(READY.format(1))

    (beside / "query.sql").touch()

    dev.wait_line("dev: change of ../beside/query.sql: reloads the program")
    shutil.rmtree(beside)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("ap",), 64, "'ap': expected module:attribute"),
        (("app:app", "--watch=missing"), 64, "missing: expected a file or a folder to watch, found none"),
        (("app:app", "--workers=x"), 78, "workers='x': expected a whole number"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_starts(
    dev: Activated, words: tuple[str, ...], status: int, text: str
) -> None:
    dev.start("dev", *words)

    assert dev.wait_exit() == status
    assert text in dev.log()
    assert "started" not in dev.log()


def test_without_watchfiles_the_error_says_how_to_install_it(dev: Activated) -> None:
    hidden = dev.folder.parent / "hidden"
    hidden.mkdir()
    (hidden / "watchfiles.py").write_text("raise ImportError('no watchfiles here')")
    dev.start("dev", "app:app", PYTHONPATH=f"{hidden}:{os.environ.get('PYTHONPATH', '')}")

    assert dev.wait_exit() == 69
    assert "files cannot be watched (no watchfiles here): pip install 'sockact[dev]'" in dev.log()
