"""The loop that serves, and apps that have a part in it or make it impossible."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import unix_connect

from sockact.sockets.fds import Listener
from tests.support.certificates import Authority
from tests.support.commands import BY_DEFAULT, PATH, run_sockact
from tests.support.http_client import Client
from tests.support.manager import Manager, listening, wait_until
from tests.support.processes import workers
from tests.support.service import Service
from tests.support.tls import TlsClient

LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
MODES = pytest.mark.parametrize("workers", ["0", "1"], ids=["alone", "supervised"])

FACTORY = """
import asyncio

asyncio.run(asyncio.sleep(0))  # an import is not in the loop

def create():
    loop = asyncio.get_running_loop()
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(tick())

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        assert asyncio.get_running_loop() is loop and not task.done()
        before = len(ticks)
        while len(ticks) == before:
            await asyncio.sleep(0.01)
        body = type(loop).__module__.encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
"""

PLAIN = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        startup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = request(scope["path"]) or b""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

def startup():
    pass

def request(path):
    pass
"""

NEST = """
import asyncio, nest_asyncio

async def answer():
    await asyncio.sleep(0.01)
    return b"nested"
"""

NESTED = "def request(path):\n    return asyncio.get_running_loop().run_until_complete(answer())\n"

ADVICE = "nest_asyncio needs asyncio's own event loop: set loop=asyncio (--loop asyncio)"


def client_of(listener: Listener) -> Client:
    assert listener.sock is not None
    return Client(listener.sock.getsockname())


def stop(manager: Manager) -> str:
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0, manager.report()
    return manager.stderr()


# A13: factories, and the loop.


@LOOPS
@MODES
def test_a_factory_runs_in_the_loop_that_serves_and_its_tasks_live_on(
    manager: Manager, listener: Listener, loop: str, workers: str
) -> None:
    Path("app.py").write_text(FACTORY)
    options = ("--factory", f"--loop={loop}", f"--workers={workers}", "--probation=0.1s", "--control=none")
    manager.sockact("app:create", *options, listeners=[listener])
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().body == (b"uvloop" if loop == "uvloop" else b"asyncio.unix_events")
        manager.signal(signal.SIGHUP)  # the new code is tried in the same way
        manager.wait_ready()
        assert client.get().status == 200
    assert "reload failed" not in stop(manager)


@LOOPS
def test_a_program_may_give_a_factory_and_the_loop(manager: Manager, listener: Listener, loop: str) -> None:
    Path("app.py").write_text(FACTORY)
    Path("main.py").write_text(
        f"import app, sockact\nsockact.serve(app.create, factory=True, loop={loop!r}, control='none')"
    )
    manager.start([*BY_DEFAULT, sys.executable, "main.py"], [listener], **PATH)
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().body.startswith(loop.encode())
    stop(manager)


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("", 0, "app:create: started as asgi"),
        ("def create(): asyncio.get_running_loop(); raise RuntimeError('no')", 1, "RuntimeError: no"),
    ],
    ids=["good", "failing"],
)
def test_a_check_runs_a_factory_in_the_loop_too(tmp_path: Path, line: str, status: int, said: str) -> None:
    (tmp_path / "app.py").write_text(FACTORY + line)
    words = ["check-app", "--factory", "--loop=asyncio", "--chdir", str(tmp_path), "app:create"]
    done = run_sockact(words, tmp_path)

    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done


@LOOPS
def test_ctrl_c_ends_a_factory_that_hangs(manager: Manager, listener: Listener, loop: str) -> None:
    Path("app.py").write_text(
        "import time\ndef create():\n    open('begun', 'w').close()\n    time.sleep(600)\n"
    )
    options = ("--factory", f"--loop={loop}", "--control=none")
    manager.sockact("app:create", *options, listeners=[listener])
    wait_until(Path("begun").exists)

    manager.signal(signal.SIGINT)
    assert manager.wait_exit() in (130, -signal.SIGINT)


def test_a_loop_of_another_name_is_an_error(tmp_path: Path) -> None:
    done = run_sockact(["check-app", "--loop=trio", "app:app"], tmp_path)

    assert done.returncode == 78
    assert "loop='trio': expected one of uvloop, asyncio" in done.stderr


@pytest.mark.parametrize("where", ["import", "startup", "request"])
def test_nest_asyncio_works_in_the_loop_of_asyncio(
    manager: Manager, listener: Listener, where: str
) -> None:
    apply = {
        "import": "nest_asyncio.apply()\n" + NESTED,
        "startup": NESTED + "def startup(): nest_asyncio.apply()\n",
        "request": NESTED.replace("    return", "    nest_asyncio.apply()\n    return"),
    }
    Path("app.py").write_text(PLAIN + NEST + apply[where])
    manager.sockact("app:app", "--loop=asyncio", "--control=none", listeners=[listener])
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().body == b"nested"
        manager.signal(signal.SIGHUP)
        manager.wait_ready()
        assert client.get().body == b"nested"
        log = stop(manager)
    assert "nest_asyncio needs" not in log
    assert "Traceback" not in log


@MODES
def test_nest_asyncio_in_uvloop_fails_with_a_line_that_names_the_setting(
    manager: Manager, listener: Listener, workers: str
) -> None:
    Path("app.py").write_text(PLAIN + NEST + "def startup(): nest_asyncio.apply()\n")
    manager.sockact("app:app", f"--workers={workers}", "--control=none", listeners=[listener])

    assert manager.wait_exit() == 1
    assert any(ADVICE in line and "ERROR: the app's startup failed" in line for line in lines(manager))
    assert any(ADVICE in text for text in manager.said("STATUS"))


def test_nest_asyncio_in_uvloop_is_a_warning_where_it_has_not_failed_yet(
    manager: Manager, listener: Listener
) -> None:
    Path("app.py").write_text(PLAIN + NEST + "nest_asyncio.apply()\n")
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    assert f"WARNING: {ADVICE}" in stop(manager)


def test_nest_asyncio_in_a_request_in_uvloop_is_an_error_that_names_the_setting(
    manager: Manager, listener: Listener
) -> None:
    Path("app.py").write_text(PLAIN + NEST + "def request(path): nest_asyncio.apply()\n")
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().status == 500
    assert f"the app has failed; {ADVICE}" in stop(manager)


def test_the_health_socket_answers_beside_nest_asyncio(
    manager: Manager, listener: Listener, health: Listener
) -> None:
    Path("app.py").write_text(PLAIN + NEST + "nest_asyncio.apply()\n")
    manager.sockact("app:app", "--loop=asyncio", "--control=none", listeners=[listener, health])
    manager.wait_ready()

    with client_of(health) as client:
        assert client.get().body == b"ready\n"
    stop(manager)


@pytest.fixture
def health() -> Iterator[Listener]:
    listener = listening(name="health")
    yield listener
    listener.close()


def lines(manager: Manager) -> list[str]:
    return manager.stderr().splitlines()


# A14: green threads.

EVENTLET = """
import socket, threading
class GreenSocket(socket.socket): pass
GreenSocket.__module__ = "eventlet.greenio.base"
green = threading.Thread(name="green")
def monkey_patch():
    socket.socket = GreenSocket
    threading.current_thread = lambda: green
"""
"""The part of eventlet that matters here; the library itself warns that it is at its end."""

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
INSTEAD = {
    "gevent": "sockact run -- gunicorn -k gevent ...",
    "eventlet": "sockact run -- PROGRAM ARGUMENT...",
}


@pytest.fixture(params=["gevent", "eventlet"])
def green(request: pytest.FixtureRequest, manager: Manager) -> str:
    """Give the name of a library of green threads that the app can import."""
    Path("eventlet.py").write_text(EVENTLET)
    name: str = request.param
    return name


def assert_explained(manager: Manager, green: str, *, begins: str = "") -> None:
    said = [line for line in lines(manager) if f"{begins}{green} has replaced " in line]
    assert said, manager.report()
    for line in said:
        assert "asyncio's event loop, by which sockact serves, needs Python's own" in line
        assert INSTEAD[green] in line
    assert "Traceback" not in manager.stderr()


@MODES
def test_green_threads_in_an_app_are_refused_in_a_line_that_says_what_can_be_done(
    manager: Manager, listener: Listener, green: str, workers: str
) -> None:
    Path("app.py").write_text(PATCH[green] + "\n" + PLAIN)
    manager.sockact("app:app", f"--workers={workers}", "--control=none", listeners=[listener])

    assert manager.wait_exit() == 1
    assert_explained(manager, green, begins="ERROR: ")
    assert any(f"{green} has replaced" in text for text in manager.said("STATUS"))


@pytest.mark.parametrize("prefix", [(), BY_DEFAULT], ids=["alone", "supervised"])
@pytest.mark.parametrize("first", [True, False], ids=["before sockact", "before serve"])
def test_green_threads_in_a_program_are_refused_in_a_line_that_says_what_can_be_done(
    manager: Manager, listener: Listener, green: str, prefix: tuple[str, ...], first: bool
) -> None:
    Path("app.py").write_text(PLAIN)
    order = [PATCH[green], "import sockact, app"]
    code = "\n".join([*(order if first else order[::-1]), "sockact.serve(app.app, control='none')"])
    Path("main.py").write_text(code)
    manager.start([*prefix, sys.executable, "main.py"], [listener], **PATH)

    assert manager.wait_exit() == 1
    assert_explained(manager, green, begins="ERROR: ")


@pytest.mark.parametrize("where", ["startup", "factory"])
def test_green_threads_that_come_later_in_the_start_are_refused_as_well(
    manager: Manager, listener: Listener, green: str, where: str
) -> None:
    body = f"def startup():\n    {PATCH[green]}\n" if where == "startup" else ""
    Path("app.py").write_text(PLAIN + body + f"def create():\n    {PATCH[green]}\n    return app\n")
    options = ["--factory", "app:create"] if where == "factory" else ["app:app"]
    manager.sockact(options[-1], *options[:-1], "--control=none", listeners=[listener])

    assert manager.wait_exit() == 1
    assert_explained(manager, green, begins="ERROR: ")


@MODES
def test_a_reload_into_green_threads_is_refused_with_that_line(
    manager: Manager, listener: Listener, green: str, workers: str, tmp_path: Path
) -> None:
    Path("app.py").write_text(PLAIN)
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    manager.sockact("app:app", f"--workers={workers}", listeners=[listener], **environ)
    manager.wait_ready()

    Path("app.py").write_text(PATCH[green] + "\n" + PLAIN)
    done = run_sockact(["reload"], tmp_path)

    assert done.returncode == 1
    assert f"reload failed: {green} has replaced" in done.stderr
    assert INSTEAD[green] in done.stderr
    assert_explained(manager, green)
    with client_of(listener) as client:
        assert client.get().status == 200


def test_green_threads_that_come_with_a_request_are_named_in_the_log(
    manager: Manager, listener: Listener, green: str
) -> None:
    Path("app.py").write_text(PLAIN + f"def request(path):\n    {PATCH[green]}\n")
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().status == 200

    wait_until(lambda: "while this process serves" in manager.stderr())
    assert_explained(manager, green, begins="ERROR: ")


def test_a_check_names_green_threads_too(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PATCH["gevent"] + PLAIN)
    done = run_sockact(["check-app", "--chdir", str(tmp_path), "app:app"], tmp_path)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sockact: app:app: gevent has replaced ")


def test_parts_of_gevent_that_do_not_matter_are_no_reason_to_refuse(
    manager: Manager, listener: Listener
) -> None:
    patch = "from gevent import monkey; monkey.patch_time(); monkey.patch_queue()"
    Path("app.py").write_text(patch + PLAIN)
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().status == 200
    stop(manager)


def test_what_is_said_to_do_about_gevent_works(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(
        "import socket\n"
        "def app(environ, start_response):\n"
        "    body = socket.socket.__module__.encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-k", "gevent", "app:app"]
    command = [sys.executable, "-m", "sockact", "run", "--control=none", "--workers=1", "--", *gunicorn]
    manager.start(command, [listener], **PATH)
    manager.wait_ready()

    with client_of(listener) as client:
        assert client.get().body.startswith(b"gevent.")
    stop(manager)


# Everything on asyncio's own loop; beyond this, all tests of processes were once run with it.

ON_ASYNCIO = ("--loop=asyncio", "--workers=1", "--probation=0.1s")


def test_a_connection_over_tls_gets_its_whole_response_and_its_end(
    service: Service, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.issue("first").install(tmp_path / "tls.crt", tmp_path / "tls.key")
    options = (f"--tls-certificate={tmp_path / 'tls.crt'}", f"--tls-key={tmp_path / 'tls.key'}")
    service.start(*ON_ASYNCIO, *options)
    assert service.listener.sock is not None
    with TlsClient(service.listener.sock.getsockname(), authority.client()) as client:
        assert client.get().status == 200
        client.ask("/hold")
        held = service.gate.wait()
        service.manager.signal(signal.SIGTERM)
        service.manager.wait_for("STOPPING", "1")
        held.release()

        assert client.read().status == 200
        assert client.at_eof()
    assert service.manager.wait_exit() == 0


def test_a_websocket_is_closed_with_1012(service: Service) -> None:
    service.start(*ON_ASYNCIO)
    with unix_connect(sock=service.client().sock, uri="ws://test/ws") as connection:
        connection.send("hello")
        assert connection.recv() == "hello"

        service.manager.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert service.manager.wait_exit() == 0


CONVERSATION = """
import os, sockact
async def handler(reader, writer, *, state=b"0"):
    if line := await reader.readline():
        state = b"%d" % (int(state) + 1)
        writer.write(b"%s %d\\n" % (state, os.getpid()))
        return sockact.Handover(state)
"""


def test_a_conversation_goes_on_in_the_next_process(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(CONVERSATION)
    manager.sockact("app:handler", "--control=none", *ON_ASYNCIO, listeners=[listener])
    manager.wait_ready()
    with client_of(listener) as client, client.sock.makefile("rb") as answers:
        client.send("one\n")
        first = answers.readline().split()
        manager.signal(signal.SIGHUP)
        manager.wait_ready()
        wait_until(lambda: len(workers(manager.pid)) == 1)
        client.send("two\n")
        second = answers.readline().split()

    assert (first[0], second[0]) == (b"1", b"2")
    assert first[1] != second[1]
    stop(manager)
