"""Log lines and errors get through, whatever the app does to its process, and are shown escaped."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import BY_DEFAULT, PATH, run_sockact
from tests.support.http_client import Client
from tests.support.manager import Manager, wait_until
from tests.support.processes import workers

APP = """
import asyncio, io, logging, logging.config, os, signal, sys, threading
import sockact
from sockact import hooks

def spoil():
    {spoil}

at = {at!r}
if at == "import":
    spoil()
if at == "hook":
    hooks.on_start(spoil)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if at == "startup":
            spoil()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    path = scope["path"]
    if path == "/spoil":
        spoil()
    if path == "/fail":
        raise RuntimeError("this request fails")
    if path == "/callback":
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    if path == "/print":
        print("printed in a request")
    if path.startswith("/wait"):
        await asyncio.sleep(600)
    body = str(os.getpid()).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""

MAIN = """
import sockact
from app import app
sockact.serve(app, control="none", probation=0.1)
"""

SYS = {
    "stdout has write only": "sys.stdout = type('W', (), {'write': lambda self, text: len(text)})()",
    "stderr is in memory": "sys.stderr = io.StringIO()",
    "all are None": "sys.stdin = sys.stdout = sys.stderr = None",
    "all are gone": "del sys.stdin, sys.stdout, sys.stderr",
    "all are closed": "[each.close() for each in (sys.stdin, sys.stdout, sys.stderr)]",
    "all raise": "sys.stdin = sys.stdout = sys.stderr = type('R', (), {'__getattr__': lambda *_: 1 / 0})()",
    "descriptors are closed": "[os.close(fd) for fd in (0, 1, 2)]",
    "nothing else is true": (
        "sys.executable = None; sys.argv.clear(); sys.orig_argv.clear(); sys.path.append(None);"
        "sys.excepthook = threading.excepthook = lambda *_: os._exit(9);"
        "sys.modules['lazy'] = type('L', (), {'__getattr__': lambda *_: 1 / 0})(); os.chdir('/')"
    ),
}

LOGGING = {
    "dictConfig": "logging.config.dictConfig({'version': 1, 'root': {'level': 'WARNING'}})",
    "dictConfig with a handler": (
        "logging.config.dictConfig({'version': 1, 'root': {'handlers': ['null']},"
        "'handlers': {'null': {'class': 'logging.NullHandler'}}})"
    ),
    "fileConfig": (
        "logging.config.fileConfig(io.StringIO('[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n"
        "[formatters]\\nkeys=\\n[logger_root]\\nhandlers=\\n'))"
    ),
    "basicConfig": "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
    "disable": "logging.disable()",
    "shutdown": "logging.shutdown()",
    "all loggers are cleared": (
        "[(logger.handlers.clear(), setattr(logger, 'disabled', True), setattr(logger, 'propagate', False))"
        " for logger in map(logging.getLogger, list(logging.root.manager.loggerDict))]"
    ),
    "a factory that raises": "logging.setLogRecordFactory(lambda *_: 1 / 0)",
}


def install(spoil: str, at: str = "import", main: str = MAIN) -> None:
    Path("app.py").write_text(APP.format(spoil=spoil, at=at))
    Path("main.py").write_text(main)


@pytest.fixture
def client(listener: Listener) -> Iterator[Client]:
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        yield client


def start(manager: Manager, listener: Listener, mode: str) -> int:
    """Start the app as the mode says, and wait until it serves."""
    how, _, number = mode.partition(" ")
    prefix = () if number == "alone" else BY_DEFAULT
    run = ("-m", "sockact", "run", "--control=none", "--probation=0.1s", "app:app")
    command = [*prefix, sys.executable, *(run if how == "command" else ("main.py",))]
    pid = manager.start(command, [listener], **PATH)
    manager.wait_ready()
    return pid


def stop(manager: Manager) -> str:
    """End the service, and return what it has said."""
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0, manager.report()
    return manager.stderr()


MODES = pytest.mark.parametrize(
    "mode", ["program alone", "program supervised", "command alone", "command supervised"]
)
BOTH = pytest.mark.parametrize("mode", ["program alone", "command supervised"])


# A6: what `sys` holds is the app's.


@pytest.mark.parametrize("mode", ["program alone", "program supervised", "command alone"])
@pytest.mark.parametrize("spoil", SYS.values(), ids=SYS)
def test_whatever_an_app_makes_of_sys_the_service_lives_and_says_so(
    manager: Manager, listener: Listener, client: Client, mode: str, spoil: str
) -> None:
    # Where a program has closed them before it calls `serve`, it wants no words of ours.
    install(spoil, "startup" if spoil == SYS["descriptors are closed"] else "import")
    start(manager, listener, mode)
    client.get()

    manager.signal(signal.SIGHUP)
    manager.wait_ready()

    assert client.get().status == 200  # the connection has moved
    log = stop(manager)
    assert "gen 2 is ready" in log
    assert "phase=inactive" in log


@pytest.mark.parametrize("mode", ["program alone", "program supervised"])
@pytest.mark.parametrize("spoil", [SYS["stderr is in memory"], SYS["all raise"]], ids=["memory", "raises"])
def test_why_a_start_fails_is_said_on_descriptor_2(
    manager: Manager, listener: Listener, mode: str, spoil: str
) -> None:
    install(spoil, main="import app, sockact\nsockact.serve('gone:app', control='none')")
    manager.start(
        [*(() if mode == "program alone" else BY_DEFAULT), sys.executable, "main.py"], [listener], **PATH
    )

    assert manager.wait_exit() == 1
    assert "no module 'gone'" in manager.stderr()


def test_a_fault_of_ours_is_said_on_descriptor_2_too(manager: Manager, listener: Listener) -> None:
    install(SYS["all raise"], main="import app, sockact, sockact.worker.main\n" + FAULT)
    manager.start([sys.executable, "main.py"], [listener], **PATH)

    assert manager.wait_exit() == 70
    assert "ZeroDivisionError: division by zero" in manager.stderr()
    assert "Traceback" in manager.stderr()


FAULT = """
sockact.worker.main._Serving._mount = lambda *_: 1 / 0
sockact.serve(app.app, control="none")
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_error_in_a_callback_does_not_end_the_loop_where_stderr_is_broken(
    manager: Manager, listener: Listener, client: Client, loop: str
) -> None:
    install("logging.basicConfig(); " + SYS["all are closed"])
    manager.sockact("app:app", "--control=none", f"--loop={loop}", listeners=[listener])
    manager.wait_ready()

    pids = {client.get("/callback").body for _ in range(3)}

    assert len(pids) == 1
    assert "ZeroDivisionError" in stop(manager)


@BOTH
def test_no_client_gets_our_words_where_descriptor_2_is_free(
    manager: Manager, listener: Listener, mode: str
) -> None:
    install(SYS["descriptors are closed"], "startup")
    start(manager, listener, mode)
    assert listener.sock is not None
    clients = [Client(listener.sock.getsockname()) for _ in range(4)]  # one of them gets the number

    for each in clients:
        assert each.get().status == 200
        assert each.get("/fail").body == b"Internal Server Error"
        each.close()
    assert stop(manager).count("RuntimeError: this request fails") == 4


@pytest.mark.parametrize("mode", ["program alone", "program supervised", "command supervised"])
def test_a_service_that_was_started_without_standard_streams_gives_their_numbers_to_nobody(
    manager: Manager, listener: Listener, mode: str
) -> None:
    install("pass")
    command = ["-m", "sockact", "run", "--control=none", "app:app"] if mode[0] == "c" else ["main.py"]
    prefix = () if mode.endswith("alone") else BY_DEFAULT
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *prefix, sys.executable, *command]
    pid = manager.start(shell, [listener], **PATH)
    manager.wait_ready()
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        assert client.get("/print").status == 200
        assert client.get("/fail").body == b"Internal Server Error"

    for each in (pid, *workers(pid)):
        assert {os.readlink(f"/proc/{each}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    assert stop(manager) == ""


@BOTH
def test_a_hanging_process_shows_where_on_descriptor_2(
    manager: Manager, listener: Listener, mode: str
) -> None:
    install(SYS["all raise"])
    pid = start(manager, listener, mode)
    worker = workers(pid)[0] if "supervised" in mode else pid

    os.kill(worker, signal.SIGABRT)
    wait_until(lambda: "Fatal Python error: Aborted" in manager.stderr())


WSGI = """
import sys
sys.stderr = None
def app(environ, start_response):
    print("an error of the app", file=environ["wsgi.errors"])
    environ["wsgi.errors"].close()
    environ["wsgi.errors"].writelines(["another one\\n"])
    start_response("200 OK", [])
    return [b"hello"]
"""


def test_the_errors_of_a_wsgi_app_go_to_descriptor_2(
    manager: Manager, listener: Listener, client: Client
) -> None:
    Path("app.py").write_text(WSGI)
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    assert client.get().body == b"hello"
    assert "an error of the app\nanother one\n" in manager.stderr()


def test_a_working_directory_that_is_gone_is_an_error_in_words(
    manager: Manager, listener: Listener
) -> None:
    script = f'mkdir gone; cd gone; rmdir ../gone; exec "{sys.executable}" -m sockact run app:app'
    manager.start(["sh", "-c", script], [listener])

    assert manager.wait_exit() == 1
    assert "cannot import from the working directory: No such file or directory" in manager.stderr()
    assert "Traceback" not in manager.stderr()


# A7: our loggers stay.


@pytest.mark.parametrize("spoil", LOGGING.values(), ids=LOGGING)
def test_an_error_of_a_request_has_its_traceback_whatever_the_app_does_to_logging(
    manager: Manager, listener: Listener, client: Client, spoil: str
) -> None:
    install(spoil, "request")
    start(manager, listener, "program alone")

    client.get("/spoil")
    assert client.get("/fail").status == 500

    log = stop(manager)
    assert 'raise RuntimeError("this request fails")' in log
    assert "phase=deactivating" in log
    assert "phase=inactive" in log


@BOTH
@pytest.mark.parametrize("at", ["import", "startup", "hook"])
def test_our_loggers_stay_whenever_an_app_sets_up_its_own(
    manager: Manager, listener: Listener, client: Client, at: str, mode: str
) -> None:
    install(LOGGING["dictConfig"], at)
    start(manager, listener, mode)

    assert client.get("/fail").status == 500

    log = stop(manager)
    assert 'raise RuntimeError("this request fails")' in log
    assert log.count("phase=deactivating") == (2 if mode == "command supervised" else 1)


def test_our_loggers_stay_beside_a_wsgi_app(manager: Manager, listener: Listener, client: Client) -> None:
    spoil = LOGGING["dictConfig"]
    Path("app.py").write_text(
        f"import logging.config\ndef app(environ, start_response):\n    {spoil}\n    1 / 0\n"
    )
    manager.sockact("app:app", "--control=none", "--access-log", listeners=[listener])
    manager.wait_ready()

    assert client.get().status == 500

    log = stop(manager)
    assert "ZeroDivisionError: division by zero" in log
    assert '"GET / HTTP/1.1" 500' in log
    assert "phase=inactive" in log


def test_the_handlers_of_the_app_may_raise(manager: Manager, listener: Listener, client: Client) -> None:
    raising = "type('H', (logging.Handler,), {'emit': lambda *_: 1 / 0})()"
    install(f"logging.basicConfig(force=True, handlers=[{raising}])")
    start(manager, listener, "program alone")

    assert client.get("/fail").status == 500

    assert 'raise RuntimeError("this request fails")' in stop(manager)


BY_NAME = """logging.config.dictConfig({'version': 1, 'handlers': {'file':
        {'class': 'logging.FileHandler', 'filename': 'own.log'}}, 'loggers': {
        'sockact': {'handlers': ['file']}}})"""


def test_an_app_that_names_our_loggers_means_it(
    manager: Manager, listener: Listener, client: Client
) -> None:
    install(BY_NAME)
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    assert client.get("/fail").status == 500

    assert "this request fails" not in stop(manager)
    own = Path("own.log").read_text()
    assert 'raise RuntimeError("this request fails")' in own
    assert "phase=inactive" in own


ALL_HELD = """
import logging
from sockact.config.logs import SteadyLogger
def names():
    made = logging.root.manager.loggerDict.items()
    ours = {name: each for name, each in made if name.startswith("sockact.") and hasattr(each, "level")}
    return [name for name, each in ours.items() if not isinstance(each, SteadyLogger)]
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise AssertionError(names())
"""


@pytest.mark.parametrize("number", ["0", "1"])
def test_no_logger_of_ours_is_left_out(manager: Manager, listener: Listener, number: str) -> None:
    Path("app.py").write_text(ALL_HELD)
    manager.sockact("app:app", f"--workers={number}", "--control=none", listeners=[listener])
    manager.wait_ready()

    assert "does not take part in lifespan: AssertionError: []" in manager.stderr(), manager.report()


# A8: without the journal's socket.


@pytest.mark.parametrize("mode", ["alone", "supervised"])
def test_without_the_journals_socket_each_line_of_a_traceback_is_an_entry_with_its_priority(
    manager: Manager, listener: Listener, mode: str
) -> None:
    install("raise RuntimeError('no database')")
    main = (
        "import sockact.config.journal; sockact.config.journal.JOURNAL = '/gone'\n"
        "from sockact.cli.main import main; main()"
    )
    manager.log.touch()
    status = manager.log.stat()
    run = ["run", "--control=none", f"--workers={mode == 'supervised':d}", "app:app"]
    manager.start(
        [sys.executable, "-c", main, *run],
        [listener],
        **PATH,
        JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}",
    )

    assert manager.wait_exit() == 1
    lines = manager.stderr().splitlines()
    assert all(line.startswith(("<3>", "<4>", "<6>")) for line in lines), lines
    assert "<3>app cannot be imported: RuntimeError: no database" in lines
    assert "<3>  Traceback (most recent call last):" in lines


# A15: what an app prints.


@MODES
def test_what_an_app_prints_appears_at_once_and_outlives_a_kill(
    manager: Manager, listener: Listener, client: Client, mode: str
) -> None:
    install("print('printed at import')")
    how, _, number = mode.partition(" ")
    run = ("-m", "sockact", "run", "--control=none", "app:app")
    command = [sys.executable, *(run if how == "command" else ("main.py",))]
    prefix = () if number == "alone" else BY_DEFAULT
    pid = manager.start(["sh", "-c", 'exec "$@" >out', "sh", *prefix, *command], [listener], **PATH)
    manager.wait_ready()
    server = int(client.get("/print").body)

    assert "printed at import\n" in Path("out").read_text()
    assert Path("out").read_text().endswith("printed in a request\n")
    os.kill(server, signal.SIGKILL)
    assert pid == server or number == "supervised"


# B5: nothing that others have written does more than to be read.

EVIL = "\x1b[2J\rforged\x7f\u202e"
SHOWN = r"\x1b[2J\rforged\x7f\u202e"

HOSTILE = """
import os, signal, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0"))
evil = {evil!r}
sock.send(f"READY=1\\nSTATUS={{evil}}\\nX_SOCKACT_VERSION={{evil}}\\nX_SOCKACT_HOOK={{evil}}".encode())
signal.pause()
"""

FAILING = HOSTILE.replace("READY=1", "X_SOCKACT_REASON={{evil}}").replace("signal.pause()", "exit(1)")


def assert_visible(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), repr(text)


def test_what_a_worker_says_is_shown_escaped(manager: Manager, listener: Listener, tmp_path: Path) -> None:
    Path("main.py").write_text(HOSTILE.format(evil=EVIL))
    command = [sys.executable, "-m", "sockact", "run", "--workers=1", "--", sys.executable, "main.py"]
    manager.start(command, [listener], **PATH, RUNTIME_DIRECTORY=str(tmp_path))
    manager.wait_ready()
    wait_until(lambda: any(SHOWN in text for text in manager.said("STATUS")))

    for form in ((), ("--json",), ("--prometheus",)):
        shown = run_sockact(["status", *form], tmp_path)
        assert_visible(shown.stdout)
        assert "forged" in shown.stdout
    assert SHOWN in run_sockact(["status"], tmp_path).stdout
    assert_visible(manager.stderr())
    assert all(text.isprintable() for text in manager.said("STATUS"))


def test_why_a_worker_fails_is_shown_escaped(manager: Manager, listener: Listener) -> None:
    Path("main.py").write_text(FAILING.format(evil=EVIL))
    command = [sys.executable, "-m", "sockact", "run", "--workers=1", "--control=none"]
    manager.start([*command, "--", sys.executable, "main.py"], [listener], **PATH)

    assert manager.wait_exit() == 1
    assert SHOWN in manager.stderr()
    assert_visible(manager.stderr())


@pytest.mark.parametrize("verb", ["reload", "status"])
def test_the_answer_of_a_service_is_printed_escaped(tmp_path: Path, verb: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "sockact.sock"))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(json.dumps({"ok": False, "text": EVIL}).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = run_sockact([verb], tmp_path)
        thread.join()

    assert SHOWN in done.stderr
    assert_visible(done.stderr)


def test_the_path_of_a_request_is_logged_escaped(manager: Manager, listener: Listener) -> None:
    install("pass")
    options = ("--drain-timeout=0.1s", "--linger=0", "--control=none", "--access-log")
    manager.sockact("app:app", *options, listeners=[listener])
    manager.wait_ready()
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client, Client(listener.sock.getsockname()) as other:
        client.ask("/wait%1b[2J%0d%0a2026%20forged%E2%80%AE")
        other.get("/%1b%0aforged")
        log = stop(manager)

    assert "GET /wait%1b[2J%0d%0a2026%20forged%E2%80%AE" in log  # as it was sent
    assert_visible(log)
    assert "\n2026 forged" not in log


def test_the_name_and_the_error_of_a_hook_are_shown_escaped(manager: Manager, listener: Listener) -> None:
    hook = f"def hook(): raise ValueError({EVIL!r})\nhook.__qualname__ = 'hook\\x1b\\n<0>forged'\n"
    install("pass")
    Path("app.py").write_text(Path("app.py").read_text() + hook + "hooks.on_ready(hook)\n")
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()
    wait_until(lambda: any("forged" in text for text in manager.said("STATUS")))

    log = stop(manager)
    assert r"on_ready hook app.hook\x1b\n<0>forged failed: ValueError: " + SHOWN in log
    assert_visible(log)
    assert all(text.isprintable() for text in manager.said("STATUS"))


SPEECHLESS = """
class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raise Speechless()", "app cannot be imported: Speechless: it has no text: RuntimeError"),
        (
            "async def app(s, receive, t): await receive(); raise Speechless()",
            "the app's startup failed: Speechless: ",
        ),
        ("hooks.on_start(lambda: exec('raise Speechless()'))", "failed: Speechless: it has no text"),
    ],
    ids=["import", "startup", "hook"],
)
def test_an_error_that_cannot_say_what_it_is_fails_a_start_by_its_kind(
    manager: Manager, listener: Listener, line: str, said: str
) -> None:
    install("pass")
    Path("app.py").write_text(f"{Path('app.py').read_text()}\n{SPEECHLESS}\n{line}\n")
    manager.sockact("app:app", "--control=none", listeners=[listener])

    assert manager.wait_exit() == 1
    assert said in manager.stderr()
    assert any(said in text for text in manager.said("STATUS"))


def test_an_app_that_fails_without_words_at_its_end_ends_with_0(
    manager: Manager, listener: Listener
) -> None:
    install("pass")
    app = Path("app.py").read_text().replace("await receive()", "raise Speechless()", 2)
    app = app.replace("raise Speechless()", "await receive()", 1)  # the second: for its end
    Path("app.py").write_text(SPEECHLESS + app)
    manager.sockact("app:app", "--control=none", listeners=[listener])
    manager.wait_ready()

    assert "the app's shutdown failed: Speechless: " in stop(manager)
