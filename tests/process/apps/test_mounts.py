"""Several apps, each on the sockets of its name."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, get
from tests.support.manager import CHECKOUT, Manager, listening
from tests.support.processes import wait_gone, workers
from tests.support.streams import LineClient

APPS = """
import os

def hello(text):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text]
    return app

web = hello(b"web")
admin = hello(b"admin")

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)

events = []

async def counted(scope, receive, send):
    if scope["type"] == "lifespan":
        for expected in ("startup", "shutdown"):
            await receive()
            print(f"counted {expected}", file=__import__("sys").stderr, flush=True)
            await send({"type": f"lifespan.{expected}.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
"""


@pytest.fixture
def named() -> Iterator[Callable[[str], Listener]]:
    """Give the function that opens a listener of a name."""
    opened: list[Listener] = []

    def open_listener(name: str) -> Listener:
        opened.append(listening(name=name))
        return opened[-1]

    yield open_listener
    for listener in opened:
        listener.close()


def run(manager: Manager, *words: str, listeners: list[Listener]) -> int:
    """Start `sockact run` with several apps."""
    Path("app.py").write_text(APPS)
    return manager.start([sys.executable, "-m", "sockact", "run", *words], listeners)


@pytest.mark.parametrize("count", [0, 2])
def test_each_app_is_served_on_the_sockets_of_its_name(
    manager: Manager, named: Callable[[str], Listener], count: int
) -> None:
    admin, web, other = named("admin"), named("web"), named("web")
    run(manager, f"--workers={count}", "web=app:web", "admin=app:admin", listeners=[admin, web, other])
    manager.wait_ready()

    assert [get(listener).text for listener in (web, other, admin)] == ["web", "web", "admin"]


@pytest.mark.parametrize("count", [0, 1])
def test_sockets_that_share_a_name_are_told_apart_by_their_address(
    manager: Manager, named: Callable[[str], Listener], count: int
) -> None:
    first, second, third, other = named("web"), named("web"), named("web"), named("other")
    port = second.address.rpartition(":")[2]
    words = (f"{first.address}=app:admin", f":{port}=app:echo", "web=app:web", "other=app:admin")
    run(manager, f"--workers={count}", *words, listeners=[first, second, third, other])
    manager.wait_ready()
    assert second.sock

    assert [get(listener).text for listener in (first, third, other)] == ["admin", "web", "admin"]
    client = LineClient(second.sock.getsockname())
    assert client.ask("hello") == "hello"
    client.close()


def test_a_unix_socket_has_an_address_too(manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    run(
        manager,
        f"--listen=unix:{path}",
        "--listen=unix:other.sock",
        f"{path}=app:admin",
        "listen=app:web",
        listeners=[],
    )
    manager.wait_ready()

    assert (get(str(path)).text, get("other.sock").text) == ("admin", "web")


def test_a_program_can_name_them_too(manager: Manager, named: Callable[[str], Listener]) -> None:
    Path("app.py").write_text(APPS)
    Path("main.py").write_text(
        "import sockact, app\nsockact.serve({'web': app.web, 'lines': app.echo, 'admin': 'app:admin'})\n"
    )
    web, lines, admin = named("web"), named("lines"), named("admin")
    manager.start([sys.executable, "main.py"], [web, lines, admin], PYTHONPATH=str(CHECKOUT))
    manager.wait_ready()

    assert (get(web).text, get(admin).text) == ("web", "admin")
    assert lines.sock
    client = LineClient(lines.sock.getsockname())
    assert client.ask("hello") == "hello"
    client.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("web=app:web", "admin=app:admin", "lost=app:web"),
            "no socket is called lost: sockets are web={web}, admin={admin}, apps are for web, admin, lost",
        ),
        (
            ("web=app:web",),
            "no app is for admin={admin}: sockets are web={web}, admin={admin}, apps are for web",
        ),
        (
            ("web=app:web", "admin=app:admin", "127.0.0.1:1=app:web"),
            "no socket is called 127.0.0.1:1: sockets are web={web}, admin={admin}, apps are for web",
        ),
        (
            ("web=app:web", "adnim=app:admin"),
            "no socket is called adnim; no app is for admin={admin}: sockets are web={web}, admin={admin}",
        ),
    ],
)
@pytest.mark.parametrize("count", [0, 1])
def test_names_that_do_not_fit_are_an_error_that_shows_both_sides(
    manager: Manager, named: Callable[[str], Listener], words: tuple[str, ...], complaint: str, count: int
) -> None:
    web, admin = named("web"), named("admin")
    run(manager, f"--workers={count}", *words, listeners=[web, admin])

    assert manager.wait_exit() == 78
    assert complaint.format(web=web.address, admin=admin.address) in manager.stderr()


@pytest.mark.parametrize("unused", ["close", "keep"])
def test_a_socket_without_an_app_can_be_closed_or_kept(
    manager: Manager, named: Callable[[str], Listener], unused: str
) -> None:
    web, admin = named("web"), named("admin")
    pid = run(manager, f"--unused={unused}", "web=app:web", listeners=[web, admin])
    manager.wait_ready()

    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert admin.sock
    assert (Path(f"/proc/self/fd/{admin.fd}").readlink().name in inodes) == (unused == "keep")
    assert get(web).text == "web"


def test_an_app_with_two_names_is_started_once(manager: Manager, named: Callable[[str], Listener]) -> None:
    one, two = named("one"), named("two")
    run(manager, "one=app:counted", "two=app:counted", listeners=[one, two])
    manager.wait_ready()
    assert (get(one).status, get(two).status) == (200, 200)

    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0
    assert manager.stderr().count("counted startup") == 1
    assert manager.stderr().count("counted shutdown") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("web=app:web", "web=app:admin"),
            "'web=app:admin': expected NAME=MODULE:ATTRIBUTE, each once",
        ),
        (("web=app:web", "app:admin"), "'app:admin': expected NAME=MODULE:ATTRIBUTE, each once"),
    ],
)
def test_names_are_needed_once_each(manager: Manager, words: tuple[str, ...], complaint: str) -> None:
    run(manager, *words, listeners=[])

    assert manager.wait_exit() == 64
    assert complaint in manager.stderr()


def test_own_sockets_have_names_too(manager: Manager) -> None:
    run(
        manager,
        "--listen=web=unix:web.sock",
        "--listen=admin=unix:admin.sock",
        "web=app:web",
        "admin=app:admin",
        listeners=[],
    )
    manager.wait_ready()

    assert (get("web.sock").text, get("admin.sock").text) == ("web", "admin")


def test_a_connection_moves_to_the_app_it_began_with(
    manager: Manager, named: Callable[[str], Listener]
) -> None:
    web, admin = named("web"), named("admin")
    words = ("--workers=1", "--probation=0.1s", "web=app:web", "admin=app:admin")
    pid = run(manager, *words, listeners=[web, admin])
    manager.wait_ready()
    assert web.sock
    assert admin.sock
    with Client(web.sock.getsockname()) as one, Client(admin.sock.getsockname()) as other:
        assert (one.get().body, other.get().body) == (b"web", b"admin")
        old = workers(pid)
        manager.signal(signal.SIGHUP)
        manager.wait_for("RELOADING", "1")
        manager.wait_ready()
        wait_gone(old[0])

        assert (one.get().body, other.get().body) == (b"web", b"admin")
