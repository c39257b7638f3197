"""Serving: by the command and from a program, for every interface."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect as connect_websocket

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, exchange, get
from tests.support.manager import Manager, listening

WEBAPP = Path(__file__).parents[2] / "programs" / "webapp.py"

HELLO = """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
ASGI = f"async def app(scope, receive, send):{HELLO}"
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""


@pytest.fixture
def web(manager: Manager, listener: Listener) -> Listener:
    """Give the listener on which `webapp` is served."""
    shutil.copy(WEBAPP, "app.py")
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()
    return listener


def stop(manager: Manager) -> None:
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0, manager.stderr()


def failed(manager: Manager, listener: Listener, source: str, *options: str, app: str = "app:app") -> str:
    """Start an app that does not start, check how it ended, and return its status text."""
    Path("app.py").write_text(source)
    manager.sockact(app, *options, listeners=[listener])
    assert manager.wait_exit() == 1, manager.stderr()
    assert manager.said("READY") == []
    status = manager.said("STATUS")[-1]
    assert status in manager.stderr()
    return status


# The three ways to start.


@pytest.mark.parametrize(
    "command",
    [
        [str(Path(sys.executable).parent / "sockact"), "run", "app:app"],
        [sys.executable, "-m", "sockact", "run", "app:app"],
        [sys.executable, "main.py"],
        [sys.executable, "by_name.py"],
    ],
    ids=["sockact", "python -m sockact", "serve(app)", "serve(name)"],
)
def test_an_app_is_served_in_each_way_to_start_it(
    manager: Manager, listener: Listener, command: list[str]
) -> None:
    Path("app.py").write_text(ASGI)
    Path("main.py").write_text("import app, sockact\nsockact.serve(app.app, linger=0.1)\nprint('bye')")
    Path("by_name.py").write_text("import sockact\nsockact.serve('app:app')")
    manager.start(command, [listener])
    manager.wait_ready()

    assert get(listener).text == "hello"
    stop(manager)


def test_serve_returns_after_a_drain(manager: Manager, listener: Listener) -> None:
    Path("main.py").write_text(
        f"import sockact\n{ASGI}\nsockact.serve(app)\nopen('after', 'w').write('reached')"
    )
    manager.start([sys.executable, "main.py"], [listener])
    manager.wait_ready()
    stop(manager)

    assert Path("after").read_text() == "reached"


def test_serve_in_another_thread_is_an_error(manager: Manager, listener: Listener) -> None:
    Path("main.py").write_text(
        f"import sockact, sys, threading\n{ASGI}\n"
        "def run():\n"
        "    try:\n"
        "        sockact.serve(app)\n"
        "    except BaseException as error:\n"
        "        print(type(error).__name__, error, file=sys.stderr)\n"
        "thread = threading.Thread(target=run)\nthread.start()\nthread.join()\n"
    )
    manager.start([sys.executable, "main.py"], [listener])

    assert manager.wait_exit() == 0
    assert "serve was called in another thread: signals arrive in the main thread only" in manager.stderr()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_serve_in_async_code_is_an_error(manager: Manager, listener: Listener, workers: str) -> None:
    Path("main.py").write_text(
        f"import asyncio, sockact, sys\n{ASGI}\n"
        "async def run():\n"
        "    try:\n"
        f"        sockact.serve(app, workers={workers})\n"
        "    except sockact.SockactError as error:\n"
        "        print(type(error).__name__, error, file=sys.stderr)\n"
        "asyncio.run(run())\n"
    )
    manager.start([sys.executable, "main.py"], [listener])

    assert manager.wait_exit() == 0
    assert "UsageError serve was called in async code: it runs an event loop of its own" in manager.stderr()


def test_a_wrong_setting_is_an_error_in_the_log(manager: Manager, listener: Listener) -> None:
    """With its time, its source and its level, as the log is set up without the settings."""
    manager.sockact("app:app", "--workers=x", listeners=[listener])

    assert manager.wait_exit() == 78
    assert "sockact.process ERROR: workers='x': expected a whole number, not negative\n" in manager.stderr()


def test_an_unknown_keyword_is_an_error_of_the_settings(manager: Manager, listener: Listener) -> None:
    Path("main.py").write_text("import sockact\nsockact.serve('app:app', drain_timout=3)")
    manager.start([sys.executable, "main.py"], [listener])

    assert manager.wait_exit() == 78
    assert "unknown setting 'drain_timout': did you mean 'drain_timeout'?" in manager.stderr()


# The command line.


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "nocolon"], 64, "'nocolon': expected module:attribute, such as app:app"),
        (["run", "--no-such-flag", "app:app"], 64, "sockact run: there is no --no-such-flag"),
        (["run", "--linger"], 64, "expected one argument"),
        (["run"], 64, "no app: expected MODULE:ATTRIBUTE, such as main:app"),
        (["run", "--worker=2"], 64, "there is no --worker: did you mean '--workers'?"),
        (["run", "--host", "::", "--port=80"], 64, "no --host, --port: here it is --listen [::]:80"),
        (["run", "--bind", "x:80", "app:app"], 64, "there is no --bind: here it is --listen x:80"),
        (["run", "--timeout=30", "app:app"], 64, "no --timeout: here it is --worker-watchdog 30"),
        (["run", "--uds", "/run/x"], 64, "there is no --uds: here it is --listen unix:PATH"),
        (["run", "-k", "gevent", "app:app"], 64, "there is no -k: the kind of the app"),
        (["run", "--reload", "app:app"], 64, "there is no --reload: `sockact dev` reloads"),
        (["run", "-D", "app:app"], 64, "there is no -D: systemd does that"),
        (["reload", "--host=x"], 64, "sockact reload: there is no --host"),
        (["dance"], 64, "there is no command 'dance'"),
        (["stauts"], 64, "there is no command 'stauts': did you mean 'status'?"),
        ([], 64, "the following arguments are required: COMMAND"),
        (["run", "--linger", "x", "app:app"], 78, "linger='x': expected a time span"),
        (["run", "app:app", "--", "program"], 64, "expected either MODULE:ATTRIBUTE or -- PROGRAM"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(
    manager: Manager, listener: Listener, arguments: list[str], status: int, message: str
) -> None:
    manager.start([sys.executable, "-m", "sockact", *arguments], [listener])

    assert manager.wait_exit() == status
    assert message in manager.stderr()
    assert "Traceback" not in manager.stderr().replace("UsageError", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["reload", "--help"], ["--version"]])
def test_help_is_no_failure(manager: Manager, arguments: list[str]) -> None:
    manager.start([sys.executable, "-m", "sockact", *arguments])

    assert manager.wait_exit() == 0


def test_a_wrong_variable_is_named(manager: Manager, listener: Listener) -> None:
    manager.sockact("app:app", listeners=[listener], SOCKACT_LINGER="x")

    assert manager.wait_exit() == 78
    assert "SOCKACT_LINGER='x': expected a time span" in manager.stderr()


def test_chdir_is_where_the_app_is_imported_from(manager: Manager, listener: Listener) -> None:
    Path("release").mkdir()
    Path("release/app.py").write_text(
        f"import os\nassert os.path.basename(os.getcwd()) == 'release'\n{ASGI}"
    )
    Path("current").symlink_to("release")
    manager.sockact("app:app", "--chdir=current", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"


def test_a_missing_chdir_is_an_error_of_the_app(manager: Manager, listener: Listener) -> None:
    assert failed(manager, listener, ASGI, "--chdir=gone") == "chdir='gone': No such file or directory"
    assert "Traceback" not in manager.stderr()


def test_a_factory_makes_the_app(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(f"{ASGI}\ndef make():\n    return app")
    manager.sockact("app:make", "--factory", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"


# Interfaces.


ASGI2 = f"""
class app:
    def __init__(self, scope):
        pass
    async def __call__(self, receive, send):
        {HELLO.strip().replace("    ", "        ")}
"""


@pytest.mark.parametrize("source", [ASGI, ASGI2, WSGI], ids=["asgi", "asgi2", "wsgi"])
def test_every_interface_is_served(manager: Manager, listener: Listener, source: str) -> None:
    Path("app.py").write_text(source)
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"


def test_an_ambiguous_app_is_served_as_it_is_told(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(f"{WSGI}\ninner = app\ndef app(*args):\n    return inner(*args)")
    manager.sockact("app:app", "--kind=wsgi", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"


def test_a_wsgi_app_reads_streams_and_knows_its_environ(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text("""
import json

def app(environ, start_response):
    start_response("201 Created", [("X-Test", "yes")])
    if environ["PATH_INFO"] == "/stream":
        return (b"%d\\n" % number for number in range(3))
    body = environ["wsgi.input"].read()
    names = "REQUEST_METHOD PATH_INFO QUERY_STRING CONTENT_LENGTH HTTP_X_ASKED SERVER_PROTOCOL".split()
    return [json.dumps([*(environ[name] for name in names), len(body)]).encode()]
""")
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    answer = get(listener, "/a%20b?c=d", method="POST", body=b"x" * 300_000, headers={"X-Asked": "é"})
    assert (answer.status, answer.headers["x-test"]) == (201, "yes")
    assert json.loads(answer.body) == ["POST", "/a b", "c=d", "300000", "é", "HTTP/1.1", 300_000]
    assert get(listener, "/stream").text == "0\n1\n2\n"


def test_a_wsgi_app_that_fails_is_answered_with_500(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(
        "def app(environ, start_response):\n    raise RuntimeError('this request fails')"
    )
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    assert get(listener).status == 500
    assert "RuntimeError: this request fails" in manager.stderr()


# HTTP.


def test_all_passed_listeners_serve_the_app(manager: Manager, tmp_path: Path) -> None:
    shutil.copy(WEBAPP, "app.py")
    listeners = [listening(), listening("::1"), listening(name="admin")]
    manager.sockact("app:app", listeners=listeners)
    manager.wait_ready()

    assert [get(listener, "/x").text for listener in listeners] == ["/x"] * 3
    assert f"admin={listeners[2].address}" in manager.stderr()
    for listener in listeners:
        listener.close()


def test_the_state_of_the_lifespan_reaches_the_requests(web: Listener) -> None:
    assert get(web, "/state").text == "from the lifespan"


def test_a_persistent_connection_carries_several_requests(web: Listener) -> None:
    with Client(web) as connection:
        for path in ("/1", "/2", "/3"):
            connection.ask(path)
            assert connection.read().text == path


def test_a_client_may_ask_for_the_end_of_its_connection(web: Listener) -> None:
    data = exchange(web, b"GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")

    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in data.lower()


def test_pipelined_requests_are_answered_in_their_order(web: Listener) -> None:
    paths = [b"/slow", b"/2", b"/slow", b"/4"]
    requests = [b"GET %s HTTP/1.1\r\nHost: t\r\n" % path for path in paths]
    data = exchange(web, b"\r\n".join(requests) + b"Connection: close\r\n\r\n")

    bodies = [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"slow", b"/2", b"slow", b"/4"]


def test_head_has_the_headers_without_the_body(web: Listener) -> None:
    answer = get(web, "/large", method="HEAD")

    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "5000000", b"")


def test_every_response_has_a_date(web: Listener) -> None:
    assert get(web).headers["date"].endswith(" GMT")


def test_large_bodies_arrive_whole(web: Listener) -> None:
    body = bytes(range(256)) * 10_000

    assert get(web, "/echo", method="POST", body=body).body == body
    assert len(get(web, "/large").body) == 5_000_000


def test_chunked_bodies_arrive_whole(web: Listener) -> None:
    assert get(web, "/echo", method="POST", body=iter([b"a" * 70_000, b"b"])).body == b"a" * 70_000 + b"b"
    assert get(web, "/stream").text == "0\n1\n2\n"


def test_a_method_and_a_query_reach_the_app(web: Listener) -> None:
    assert json.loads(get(web, "/scope?a=%20", method="DELETE").body) == {
        "method": "DELETE",
        "query": "a=%20",
    }


def test_an_app_that_fails_is_answered_with_500_and_goes_on(manager: Manager, web: Listener) -> None:
    assert get(web, "/fail").status == 500
    assert get(web, "/x").text == "/x"
    assert "RuntimeError: this request fails" in manager.stderr()


def test_what_is_not_http_is_answered_with_400(web: Listener) -> None:
    assert exchange(web, b"\0\1\2\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_request_of_a_websocket_is_upgraded(web: Listener) -> None:
    assert web.sock is not None
    host, port = web.sock.getsockname()
    with connect_websocket(f"ws://{host}:{port}/") as websocket:
        for message in ("Ünïcödé ✓", b"\0\1", "x" * 100_000):
            websocket.send(message)
            assert websocket.recv(timeout=20) == message


@pytest.mark.parametrize(("options", "expected"), [(("--access-log",), True), ((), False)])
def test_the_access_log_is_there_when_it_is_asked_for(
    manager: Manager, listener: Listener, options: tuple[str, ...], expected: bool
) -> None:
    shutil.copy(WEBAPP, "app.py")
    manager.sockact("app:app", *options, listeners=[listener])
    manager.wait_ready()
    get(listener, "/logged")
    stop(manager)

    assert ('"GET /logged HTTP/1.1" 200' in manager.stderr()) is expected


def test_the_least_level_is_what_is_logged(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(ASGI)
    manager.sockact("app:app", "--log-level=error", listeners=[listener])
    manager.wait_ready()
    stop(manager)

    assert manager.stderr() == ""


def test_the_logging_of_the_program_is_respected(manager: Manager, listener: Listener) -> None:
    Path("main.py").write_text(
        f"import logging, sockact\n{ASGI}\n"
        "logging.basicConfig(format='mine: %(message)s')\nsockact.serve(app)"
    )
    manager.start([sys.executable, "main.py"], [listener])
    manager.wait_ready()

    stop(manager)

    assert "mine: gen 1 is ready" in manager.stderr()


# The app's startup and shutdown.


def lifespan(body: str) -> str:
    return f"""
import asyncio, sys
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {body}
    else:
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"hello"}})
"""


COMPLETE = 'await send({"type": "lifespan.startup.complete"}); await receive()'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no Ünïcödé ✓')", "RuntimeError: no Ünïcödé ✓"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("sys.exit(0)", "SystemExit: 0"),
        (
            'await send({"type": "lifespan.startup.failed", "message": "Traceback\\nno database"})',
            "no database",
        ),
        ('await send({"type": "lifespan.startup.failed", "message": " "})', "it does not say why"),
        ('await send({"type": "lifespan.startup.failed"})', "it does not say why"),
        (
            'await send({"type": "http.response.start"})',
            "expected a lifespan event, found 'http.response.start'",
        ),
    ],
)
def test_an_app_that_fails_in_its_startup_is_a_failed_start(
    manager: Manager, listener: Listener, body: str, reason: str
) -> None:
    status = failed(manager, listener, lifespan(body))

    assert status.startswith("the app's startup failed: ")
    assert reason in status


def test_the_traceback_of_a_failed_startup_is_logged(manager: Manager, listener: Listener) -> None:
    failed(manager, listener, lifespan("raise RuntimeError('no')"))

    assert "Traceback (most recent call last):" in manager.stderr()
    assert 'app.py", line 6, in app' in manager.stderr()


@pytest.mark.parametrize("workers", ["--workers=0", "--workers=1"])
@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("", ["app:nothing"], "nothing"),
        ("1 / 0", ["app:app"], "app cannot be imported: ZeroDivisionError"),
        (lifespan("raise RuntimeError('no')"), ["app:app"], "the app's startup failed: RuntimeError"),
        ("", ["app:app", "--drain-timeout=soon"], "drain_timeout='soon': expected"),
    ],
)
def test_the_reason_of_a_failed_start_is_logged_once(
    manager: Manager, listener: Listener, workers: str, source: str, options: list[str], reason: str
) -> None:
    Path("app.py").write_text(source)
    manager.sockact(workers, *options, listeners=[listener])

    assert manager.wait_exit() > 0
    errors = [line for line in manager.stderr().splitlines() if " ERROR: " in line]
    assert len([line for line in errors if reason in line]) == 1, errors
    assert reason in manager.said("STATUS")[-1]


def test_a_startup_without_end_is_a_failed_start(manager: Manager, listener: Listener) -> None:
    status = failed(manager, listener, lifespan("await asyncio.sleep(3600)"), "--start-timeout=100ms")

    assert status == "the app's startup did not finish within 0.1 s"


def test_an_app_may_refuse_the_lifespan(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(
        f"async def app(scope, receive, send):\n    assert scope['type'] == 'http'{HELLO}"
    )
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"
    stop(manager)


@pytest.mark.parametrize("body", ["raise ValueError(scope['type'])", "return"])
def test_an_app_that_has_to_take_part_in_the_lifespan_may_not_refuse_it(
    manager: Manager, listener: Listener, body: str
) -> None:
    source = f"async def app(scope, receive, send):\n    {body}"

    assert failed(manager, listener, source, "--lifespan=on").startswith("the app's startup failed: ")


def test_without_the_lifespan_the_app_is_not_asked(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(lifespan("raise RuntimeError('asked')"))
    manager.sockact("app:app", "--lifespan=off", listeners=[listener])
    manager.wait_ready()

    assert get(listener).text == "hello"


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('no')",
        "raise asyncio.CancelledError",
        "sys.exit(3)",
        'await send({"type": "lifespan.shutdown.failed", "message": "no"})',
    ],
)
def test_an_app_that_fails_in_its_shutdown_has_stopped_all_the_same(
    manager: Manager, listener: Listener, body: str
) -> None:
    Path("app.py").write_text(lifespan(f"{COMPLETE}; {body}"))
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()
    stop(manager)

    assert "the app's shutdown failed" in manager.stderr()


def test_a_shutdown_without_end_is_cut_off(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text(lifespan(f"{COMPLETE}; await asyncio.sleep(3600)"))
    manager.sockact("app:app", "--shutdown-timeout=50ms", listeners=[listener])
    manager.wait_ready()
    stop(manager)

    assert "the app's shutdown did not finish within 0.05 s" in manager.stderr()


def test_an_app_that_is_stopped_in_its_startup_is_cancelled_and_may_clean_up(
    manager: Manager, listener: Listener
) -> None:
    body = "\n        try: await asyncio.sleep(3600)\n        finally: open('cleaned up', 'w').close()"
    Path("app.py").write_text(lifespan(body))
    manager.sockact("app:app", listeners=[listener])
    manager.wait_for("STATUS", "gen 1: activating")
    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0, manager.stderr()
    assert manager.said("READY") == []
    assert Path("cleaned up").exists()


# What cannot be loaded.


@pytest.mark.parametrize(
    ("source", "app", "reason"),
    [
        (ASGI, "gone:app", "no module 'gone' in /"),
        (ASGI, "app:gone", "app has no 'gone': 'gone' is missing"),
        ("def app(:", "app:app", "app cannot be imported: SyntaxError: "),
        ("app = 3", "app:app", "'app:app' is a int: expected a callable"),
        ("import sys; sys.exit(0)", "app:app", "app cannot be imported: SystemExit: 0"),
        (
            "raise RuntimeError('no Ünïcödé ✓')",
            "app:app",
            "app cannot be imported: RuntimeError: no Ünïcödé ✓",
        ),
        (
            "def app(*args): ...",
            "app:app",
            "app takes neither (scope, receive, send) nor (environ, start_response)",
        ),
        ("def app(): ...", "app:app", "app takes no arguments: a factory?"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_a_failed_start(
    manager: Manager, listener: Listener, source: str, app: str, reason: str
) -> None:
    assert failed(manager, listener, source, app=app).startswith(reason)


def test_the_traceback_of_a_failed_import_is_logged(manager: Manager, listener: Listener) -> None:
    failed(manager, listener, "def f():\n    1 / 0\nf()")

    assert 'app.py", line 2, in f' in manager.stderr()


def test_a_service_whose_start_failed_refuses_nobody(manager: Manager, listener: Listener) -> None:
    with Client(listener) as waiting:
        waiting.send(b"GET / HTTP/1.0\r\n\r\n")
        failed(manager, listener, "def app(:")
        Path("app.py").write_text(ASGI)
        manager.sockact("app:app", listeners=[listener])
        manager.wait_ready()

        assert waiting.read().body == b"hello"


def test_a_variable_that_is_no_setting_is_mentioned(manager: Manager, listener: Listener) -> None:
    Path("app.py").write_text("async def app(scope, receive, send): 1 / 0")
    manager.sockact("app:app", listeners=[listener], SOCKACT_DRAIN_TIMOUT="5s", SOCKACT_LINGER="2s")
    manager.wait_ready()

    assert "SOCKACT_DRAIN_TIMOUT is no setting: ignored" in manager.stderr()
    assert "SOCKACT_LINGER" not in manager.stderr()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_wrong_setting_is_said_to_the_manager(manager: Manager, listener: Listener, workers: str) -> None:
    manager.sockact("app:app", "--workers", workers, "--linger=soon", listeners=[listener])

    assert manager.wait_exit() == 78
    assert manager.said("STATUS")[-1].startswith("linger='soon': expected a time span")
