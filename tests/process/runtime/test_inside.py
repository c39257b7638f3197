"""Questions and requests of code in an app to its process."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import reload, status
from tests.support.gate import install
from tests.support.http_client import connect, get
from tests.support.manager import CHECKOUT, LIMIT, Manager, wait_until
from tests.support.service import MODES, Service, stop
from tests.support.sockets import bound

ROUTES = """
import sockact

asgi, routes = app, {}

def route(function):
    routes["/" + function.__name__] = function

async def app(scope, receive, send):
    if scope["type"] != "http" or scope["path"] not in routes:
        return await asgi(scope, receive, send)
    body = json.dumps(await routes[scope["path"]]()).encode()
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})
"""

WSGI = """
import json, os, sockact
VERSION = "1"

def app(environ, start_response):
    path = environ["PATH_INFO"]
    found = calls[path]() if path in calls else {"version": VERSION, "pid": os.getpid()}
    body = json.dumps(found).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

calls = {
    "/reload": sockact.request_reload,
    "/waits": lambda: [sockact.draining.is_set(), sockact.draining.wait_blocking(20)],
}
"""


def start(service: Service, code: str, *options: str, more: Sequence[Listener] = ()) -> int:
    write(service, code)
    return service.start(*options, more=more)


def write(service: Service, more: str, version: str = "1") -> None:
    install(service.directory, version)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + ROUTES + more)


def write_wsgi(service: Service, version: str = "1") -> None:
    (service.directory / "app.py").write_text(WSGI.replace('VERSION = "1"', f'VERSION = "{version}"'))


# The drain.

WAITS = """
@route
async def waits():
    before = bool(sockact.draining)
    await gate("waits")
    await sockact.draining.wait()
    return [before, sockact.draining.is_set()]
"""


@MODES
def test_a_request_can_wait_for_the_drain(service: Service, mode: tuple[str, ...]) -> None:
    start(service, WAITS, *mode)
    client = service.client()
    client.ask("/waits")
    service.gate.wait().release()

    service.manager.signal(signal.SIGTERM)

    assert client.read().json == [False, True]
    assert service.manager.wait_exit() == 0


@MODES
def test_a_thread_can_wait_for_the_drain(service: Service, mode: tuple[str, ...]) -> None:
    write_wsgi(service)
    service.start(*mode)
    client = service.client()
    client.ask("/waits")
    wait_until(lambda: status(service)["workers"][0]["in_flight"] == 1)

    service.manager.signal(signal.SIGTERM)

    assert client.read().json == [False, True]
    assert service.manager.wait_exit() == 0


def test_on_a_reload_only_the_old_worker_drains(service: Service) -> None:
    start(service, WAITS, "--workers=1", "--probation=0.1s")
    client = service.client()
    client.ask("/waits")
    service.gate.wait().release()

    assert reload(service)[0] == 0

    assert client.read().json == [False, True]
    newer = service.client()
    newer.ask("/waits")
    service.gate.wait().release()
    stop(service)
    assert newer.read().json == [False, True]


# Work in the background.

BACKGROUND = """
async def work():
    try:
        await gate("work")
        print("the work is done", file=sys.stderr)
    except asyncio.CancelledError:
        print("the work was cancelled", file=sys.stderr)
        raise

@sockact.hooks.on_stop
def release(): print("released", file=sys.stderr, flush=True)

@route
async def begin():
    sockact.background(work())
    return "begun"
import sys
"""


@MODES
def test_the_drain_waits_for_work_in_the_background(service: Service, mode: tuple[str, ...]) -> None:
    start(service, BACKGROUND, *mode, "--linger=0")
    assert get(service.listener, "/begin").status == 200
    held = service.gate.wait()

    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    if not mode:
        draining = "gen 1: deactivating, draining, 0 requests in flight, 0 connections, 1 background task"
        service.manager.wait_for("STATUS", f"{draining}, 30 s left")
        service.manager.wait_for("STATUS", f"{draining}, 29 s left")  # still
    held.release()

    assert service.manager.wait_exit() == 0
    assert "the work is done" in service.manager.stderr()


@MODES
def test_the_drain_timeout_cancels_work_in_the_background(service: Service, mode: tuple[str, ...]) -> None:
    start(service, BACKGROUND, *mode, "--linger=0", "--drain-timeout=0.2s")
    assert get(service.listener, "/begin").status == 200
    service.gate.wait()

    stop(service)

    log = service.manager.stderr()
    assert "drain timeout after 0.2 s: aborting 1 background task" in log
    assert log.index("the work was cancelled") < log.index("released")


def test_a_service_with_work_in_the_background_is_not_idle(service: Service) -> None:
    """If it were, the drain timeout would end the work long before that is done."""
    work = BACKGROUND.replace('gate("work")', "asyncio.sleep(1)")
    start(service, work, "--idle-exit=0.1s", "--linger=0", "--drain-timeout=0.1s")

    assert get(service.listener, "/begin").status == 200

    assert service.manager.wait_exit() == 0
    assert "the work is done" in service.manager.stderr()


# A reload from within.

RELOADS = """
@route
async def reload(): return sockact.request_reload()

@route
async def reload_in_thread(): return await asyncio.to_thread(sockact.request_reload)
"""


@MODES
@pytest.mark.parametrize("path", ["/reload", "/reload_in_thread"])
def test_code_can_ask_for_a_reload(service: Service, mode: tuple[str, ...], path: str) -> None:
    start(service, RELOADS, *mode)
    write(service, RELOADS, "2")

    assert get(service.listener, path).status == 200

    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()
    wait_until(lambda: json.loads(get(service.listener).text)["version"] == "2")


@MODES
def test_code_of_a_wsgi_app_can_ask_for_a_reload(service: Service, mode: tuple[str, ...]) -> None:
    write_wsgi(service)
    service.start(*mode)
    write_wsgi(service, "2")

    assert get(service.listener, "/reload").status == 200

    service.manager.wait_for("RELOADING", "1")
    service.manager.wait_ready()
    wait_until(lambda: json.loads(get(service.listener).text)["version"] == "2")


def test_a_canary_asks_for_nothing(service: Service) -> None:
    """Else a start that asks for a reload would have the trial of that ask for the next one."""
    start(service, RELOADS)
    write(service, TRIED, "2")

    assert reload(service)[0] == 0

    assert get(service.listener).status == 200
    assert (service.directory / "tried").read_text() == "asked\n"
    assert len(service.manager.said("RELOADING")) == 1


TRIED = """
@sockact.hooks.on_start
def asks():
    if not os.path.exists("tried"):  # the canary is the first
        sockact.request_reload()
        with open("tried", "w") as file:
            file.write("asked\\n")
"""


# Who am I?

FACTS = """
first = [sockact.role(), sockact.activated()]

@route
async def facts(): return [first, [sockact.role(), sockact.activated()]]
"""

ADDRESSES = """
@sockact.hooks.on_start
def note():
    with open("addresses", "a") as file:
        file.write(json.dumps(sockact.addresses()) + "\\n")
"""

SITE = """
import atexit, os, sys

def tell():
    if "sockact" in sys.modules:
        import sockact
        with open("roles", "a") as file:
            file.write(f"{os.getpid()} {sockact.role()} {sockact.activated()}\\n")

atexit.register(tell)
"""


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "bound"])
@MODES
def test_code_knows_its_role_and_whether_sockets_were_passed(
    manager: Manager, listener: Listener, tmp_path: Path, mode: tuple[str, ...], passed: bool
) -> None:
    """Also after a reload, when one process has passed them to another anyway."""
    install(tmp_path)
    app = tmp_path / "app.py"
    app.write_text(app.read_text() + ROUTES + FACTS)
    (tmp_path / "sitecustomize.py").write_text(SITE)
    paths = f"{tmp_path}:{CHECKOUT}"
    address = "" if passed else f"unix:{tmp_path}/app.sock"
    where = listener if passed else f"{tmp_path}/app.sock"
    pid = manager.sockact(
        "app:app",
        *mode,
        *([f"--listen={address}"] if address else []),
        "--control=none",
        listeners=[listener] if passed else [],
        PYTHONPATH=paths,
    )
    manager.wait_ready()
    role = "worker" if mode else "alone"

    for _ in range(2):
        assert json.loads(get(where, "/facts").text) == [[role, passed]] * 2
        manager.signal(signal.SIGHUP)
        manager.wait_for("RELOADING", "1")
        manager.wait_ready()
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0

    told = dict(line.split(" ", 1) for line in (tmp_path / "roles").read_text().splitlines())
    assert told[str(pid)] == f"{'supervisor' if mode else 'alone'} {passed}"
    assert set(told.values()) <= {told[str(pid)], f"{role} {passed}"}


@MODES
def test_a_hook_of_the_start_knows_where_the_process_serves(
    service: Service, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    second = bound(socket.AF_UNIX, socket.SOCK_STREAM, f"{tmp_path}/app.sock", listen=True)
    start(service, ADDRESSES, *mode, more=[second])
    reload(service)
    second.close()

    place, canary = {"web": [service.listener.address, f"{tmp_path}/app.sock"]}, {}
    noted = [json.loads(line) for line in (tmp_path / "addresses").read_text().splitlines()]
    assert noted == [place, place] if mode else [place, canary, place]


def test_a_program_knows_its_role_before_it_serves(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    (tmp_path / "main.py").write_text(
        "import sockact, app\n"
        "open('roles', 'a').write(f'{sockact.role()} {sockact.activated()}\\n')\n"
        "sockact.serve(app.app, control='none')\n"
    )
    command = ["env", "-u", "SOCKACT_WORKERS", sys.executable, "main.py"]
    manager.start(command, [listener], PYTHONPATH=str(CHECKOUT))
    manager.wait_ready()

    assert (tmp_path / "roles").read_text() == " True\nworker True\n"


# Requests are counted.

COUNTED = """
@route
async def fails(): raise ValueError("no luck")
"""


@MODES
def test_no_request_stays_counted_however_it_ends(service: Service, mode: tuple[str, ...]) -> None:
    """Answered, failed, or given up by its client: before its end, and before the app has it whole."""
    start(service, COUNTED, *mode, "--linger=0", "--drain-timeout=60s")

    def ask() -> None:
        for _ in range(5):
            assert get(service.listener).status == 200
            assert get(service.listener, "/fails").status == 500
            for half in (
                b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
            ):
                with connect(service.listener) as sock:
                    sock.sendall(half)

    in_threads(ask, 8)

    wait_until(lambda: [row["requests"] for row in status(service)["workers"]] == [160])
    wait_until(lambda: [row["in_flight"] for row in status(service)["workers"]] == [0])
    stop(service)
    assert "aborting" not in service.manager.stderr()


def test_a_request_that_comes_with_the_drain_is_counted_before_anybody_looks(service: Service) -> None:
    """Each is begun as the stop is: what was accepted is answered, the drain does not end before."""
    for _ in range(5):
        service.start("--linger=0.5s")
        clients = [service.accepted() for _ in range(10)]
        stopping = threading.Thread(target=service.manager.signal, args=[signal.SIGTERM])
        stopping.start()
        for client in clients:
            client.ask()
        assert [client.read().status for client in clients] == [200] * 10
        stopping.join()
        assert service.manager.wait_exit() == 0


def in_threads(work: Callable[[], None], count: int) -> None:
    """Do it in several threads at a time, and raise what any of them raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    if errors:
        raise errors[0]
