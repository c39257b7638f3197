"""The end of a process that serves: it is bounded, whatever the app holds, and what held it is named."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import Manager, wait_until
from tests.support.processes import workers
from tests.support.service import Service

LIMITS = ("--shutdown-timeout=1s", "--linger=0s", "--drain-timeout=2s")
SUPERVISED = ("--workers=1", "--probation=0.1s")
MODES = pytest.mark.parametrize("mode", [(), SUPERVISED], ids=["alone", "supervised"])

LONG = ("--drain-timeout=60s",)
"""Gives workers a time from their supervisor that is beyond what a test waits for."""

BEFORE = """
import asyncio, atexit, concurrent.futures, ctypes, logging, multiprocessing, signal, sys, threading, time

def doze():
    time.sleep(900)

def live_as_long_as_the_parent():
    while os.getppid() == parent:
        time.sleep(0.1)

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    live_as_long_as_the_parent()

parent = os.getpid()

def fork(work, daemon):
    child = multiprocessing.get_context("fork").Process(target=work, daemon=daemon)
    child.start()
    return child

def at_start(work):
    inner = globals()["app"]
    async def app(scope, receive, send):
        async def working(message):
            if message["type"] == "lifespan.startup.complete":
                await work()
            await send(message)
        await inner(scope, receive, working if scope["type"] == "lifespan" else send)
    globals()["app"] = app
"""

HOLDERS = {
    "thread": (
        "threading.Thread(target=doze, name='clock').start()",
        r"thread 'clock' in doze \(.*app.py:",
    ),
    "deaf daemon child": ("fork(deaf, True)", r"exit handler _exit_function .*child pid=\d+ \(.*app:app"),
    "child": (
        "fork(live_as_long_as_the_parent, False)",
        r"exit handler _exit_function .*child pid=\d+ \(.*app:app",
    ),
    "exit handler": ("atexit.register(doze)", r"exit handler doze in doze \(.*app.py:"),
    "exit handler in C": (
        "atexit.register(time.sleep, 900)",
        "an exit handler that is no Python function",
    ),
    "executor": (
        "concurrent.futures.ThreadPoolExecutor(thread_name_prefix='pool').submit(doze)",
        r"thread 'pool_0' in doze \(.*app.py:",
    ),
    "the loop's executor": (
        "at_start(lambda: asyncio.sleep(0, asyncio.get_running_loop().run_in_executor(None, doze)))",
        r"thread '\w+_0' in doze \(.*app.py:",
    ),
    "task": (
        """
async def stubborn():
    while True:
        try:
            await asyncio.sleep(900)
        except asyncio.CancelledError:
            pass
async def begin():
    globals()["task"] = asyncio.create_task(stubborn(), name="stubborn")
at_start(begin)
""",
        "task 'stubborn' <coroutine object stubborn",
    ),
    "async generator": (
        """
async def numbers():
    try:
        yield 1
    finally:
        await asyncio.sleep(900)
async def begin():
    globals()["generator"] = numbers()
    await anext(generator)
at_start(begin)
""",
        "took longer than 1.0 s",
    ),
    "log handler": (
        """
class Handler(logging.Handler):
    def emit(self, record): pass
    def flush(self): doze()
logging.getLogger("app").addHandler(Handler())
""",
        r"exit handler shutdown in Handler.flush|exit handler shutdown in doze",
    ),
    "loop in its shutdown": (
        """
wrapped = app
async def app(scope, receive, send):
    async def working(message):
        if message["type"] == "lifespan.shutdown.complete":
            doze()
        await send(message)
    await wrapped(scope, receive, working if scope["type"] == "lifespan" else send)
""",
        r"the app's shutdown took longer than .* the main thread in doze \(.*app.py:",
    ),
    "loop in a hook": (
        "import sockact\n@sockact.hooks.on_stop\nasync def stops(): doze()",
        r"its on_stop hooks took longer than .* the main thread in doze \(.*app.py:",
    ),
    "loop in its drain": (
        "import sockact\n@sockact.hooks.on_drain\nasync def drains(): doze()",
        r"its drain took longer than .* the main thread in doze \(.*app.py:",
    ),
}

SILENT = {
    "exit handler with the GIL": "atexit.register(ctypes.PyDLL(None).sleep, 900)",
    "destructor": "class Slow:\n    def __del__(self, sleep=time.sleep): sleep(900)\nsys.slow = Slow()",
}
"""Code that lets no thread of Python's run any more."""


def extend(service: Service, code: str, version: str = "1") -> None:
    install(service.directory, version)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + BEFORE + code + "\n")


def start(service: Service, code: str, *options: str) -> int:
    extend(service, code)
    return service.start(*LIMITS, *options)


def wait_served_by(service: Service, version: str) -> None:
    wait_until(lambda: f'"version": "{version}"' in get(service.listener).text)


@pytest.mark.parametrize("holder", HOLDERS)
@MODES
def test_a_stop_is_over_though_something_holds_the_process_and_the_log_says_what(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    code, named = HOLDERS[holder]
    start(service, code, *mode)
    assert get(service.listener).status == 200

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert re.search(f"exits: .*{named}", service.manager.stderr()), service.manager.stderr()


@MODES
def test_a_drain_without_a_limit_is_over_if_the_event_loop_hangs(
    service: Service, mode: tuple[str, ...]
) -> None:
    extend(service, HOLDERS["loop in its drain"][0])
    service.start("--drain-timeout=none", "--linger=0s", "--worker-watchdog=2s", *mode)

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert "a turn of the event loop in its drain took longer than 2.0 s" in service.manager.stderr()


@MODES
def test_a_drain_without_a_limit_goes_on_while_the_event_loop_works(
    service: Service, mode: tuple[str, ...]
) -> None:
    service.start("--drain-timeout=none", "--linger=0s", "--worker-watchdog=1s", *mode)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")
    time.sleep(2)  # longer than the event loop may hang

    held.release()

    assert client.read().status == 200
    assert service.manager.wait_exit() == 0
    assert "exits" not in service.manager.stderr()


@pytest.mark.parametrize("holder", SILENT)
@MODES
def test_a_stop_is_over_though_no_thread_of_python_can_run(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    start(service, SILENT[holder], *mode)

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == (0 if mode else 1)
    assert "most recent call first" in service.manager.stderr()


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_reload_in_place_is_over_though_something_holds_the_process(
    service: Service, holder: str
) -> None:
    pid = start(service, HOLDERS[holder][0])
    install(service.directory, "2")

    assert reload(service) == (0, "gen 2 is ready\n")

    answer = service.client().get().json
    assert (answer["version"], answer["pid"]) == ("2", pid)


@pytest.mark.parametrize("holder", [name for name in (*HOLDERS, *SILENT) if name != "loop in its drain"])
def test_old_workers_are_gone_after_a_reload_though_something_holds_them(
    service: Service, holder: str
) -> None:
    code = SILENT[holder] if holder in SILENT else HOLDERS[holder][0]
    pid = start(service, code, *SUPERVISED, *LONG)
    (before,) = workers(pid)
    install(service.directory, "2")

    assert reload(service)[0] == 0

    wait_served_by(service, "2")
    wait_until(lambda: before not in workers(pid))


@pytest.mark.parametrize(
    "holder", ["thread", "executor", "the loop's executor", "exit handler", "child", "loop in a hook"]
)
@MODES
def test_a_reload_is_refused_soon_though_something_holds_the_new_code_that_fails(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    service.start(*LIMITS, *mode)
    install(service.directory)
    fails = "\nasync def fails(): raise RuntimeError('broken')\nat_start(fails)"
    extend(service, HOLDERS[holder][0] + fails, "2")

    status, text = reload(service)

    assert status == 1
    assert "broken" in text
    assert get(service.listener).status == 200


@pytest.mark.parametrize("holder", ["thread", "exit handler", "loop in a hook"])
@MODES
def test_a_startup_that_fails_is_over_though_something_holds_the_process(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    fails = "\nasync def fails(): raise RuntimeError('broken')\nat_start(fails)"
    extend(service, HOLDERS[holder][0] + fails)

    service.manager.sockact("app:app", *LIMITS, *mode, listeners=[service.listener])

    assert service.manager.wait_exit() == 1
    assert "broken" in service.manager.said("STATUS")[-1]


@pytest.mark.parametrize("holder", ["thread", "exit handler", "child"])
@MODES
def test_an_import_that_fails_is_over_though_something_holds_the_process(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    code = HOLDERS[holder][0] + "\nraise RuntimeError('broken')"
    extend(service, code)

    service.manager.sockact("app:app", *LIMITS, *mode, listeners=[service.listener])

    assert service.manager.wait_exit() == 1
    assert "broken" in service.manager.said("STATUS")[-1]


@pytest.mark.parametrize("holder", ["thread", "exit handler", "executor"])
@MODES
def test_a_start_that_a_stop_cancels_is_over_though_something_holds_the_process(
    service: Service, mode: tuple[str, ...], holder: str
) -> None:
    extend(service, HOLDERS[holder][0])
    environ = {"GATE": service.gate.path, "GATE_STARTUP": "1"}
    service.manager.sockact("app:app", *LIMITS, *LONG, *mode, listeners=[service.listener], **environ)
    service.gate.wait()

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0


def test_a_recycled_worker_is_gone_though_a_thread_holds_it(service: Service) -> None:
    pid = start(service, HOLDERS["thread"][0], *SUPERVISED, "--max-requests=1")
    (before,) = workers(pid)

    get(service.listener)
    get(service.listener)

    wait_until(lambda: before not in workers(pid))
    assert "thread 'clock'" in service.manager.stderr()


PROGRAM = """
import sys, threading, time
import sockact

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

sockact.serve(app, shutdown_timeout=0.5, linger=0)
"""


def run_program(manager: Manager, listener: Listener, after: str) -> None:
    Path("program.py").write_text(PROGRAM + after)
    manager.start([sys.executable, "program.py"], [listener])
    manager.wait_ready()
    manager.signal(signal.SIGTERM)


def test_a_program_may_go_on_for_longer_than_its_end_may_take(manager: Manager, listener: Listener) -> None:
    run_program(manager, listener, "time.sleep(3); sys.exit(7)")

    assert manager.wait_exit() == 7
    assert "exits" not in manager.stderr()


@pytest.mark.parametrize(
    ("after", "status"), [("", 0), ("raise RuntimeError('after it has served')", 1)], ids=["ends", "fails"]
)
def test_the_end_of_a_program_is_bounded_when_its_code_has_come_to_its_end(
    manager: Manager, listener: Listener, after: str, status: int
) -> None:
    hold = "threading.Thread(target=time.sleep, args=(900,), name='clock').start(); time.sleep(1)\n"
    run_program(manager, listener, hold + after)

    assert manager.wait_exit() == status
    assert re.search(r"its end took longer than [\d.]+ s, held by thread 'clock'", manager.stderr())


def test_a_second_sigterm_ends_the_process_though_nobody_reads_its_output(
    service: Service,
) -> None:
    code = """
class Handler(logging.Handler):
    def emit(self, record): pass
    def flush(self): doze()
logging.getLogger("app").addHandler(Handler())
"""
    start(service, code)
    client = service.client()
    client.ask("/hold")
    service.gate.wait()
    service.manager.signal(signal.SIGINT)
    service.manager.wait_for("STOPPING", "1")

    service.manager.signal(signal.SIGINT)

    assert service.manager.wait_exit() == 128 + signal.SIGINT


FILL = """
def fill(then):
    pipe = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(pipe, bytes(4096))
    except BlockingIOError:
        then()
"""


@pytest.mark.parametrize(
    ("then", "status"),
    [("doze", 0), ("lambda: ctypes.PyDLL(None).sleep(900)", 1)],
    ids=["a thread can run", "none can"],
)
def test_a_stop_is_over_though_nobody_reads_what_the_process_says(
    service: Service, then: str, status: int
) -> None:
    extend(service, f"{FILL}\natexit.register(fill, {then})")
    fifo = service.directory / "stderr"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    unread = ("sh", "-c", 'exec 2>stderr; exec "$@"', "sh")
    command = [*unread, sys.executable, "-m", "sockact", "run", *LIMITS, "app:app"]
    service.manager.start(command, [service.listener])
    service.manager.wait_ready()

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == status
    os.close(reader)


WSGI = """
def app(environ, start_response):
    doze()
"""


@MODES
def test_a_wsgi_thread_that_hangs_holds_no_process_after_the_drain_timeout(
    service: Service, mode: tuple[str, ...]
) -> None:
    start(service, WSGI, *mode)
    service.client().ask()
    service.manager.wait_until(
        lambda said: re.search("1 (request )?in flight", said.assignments.get("STATUS", "")) is not None,
        "a request in flight",
    )

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert re.search(r"aborted: .*: GET /, .* before its response", service.manager.stderr())


@MODES
def test_an_end_that_is_to_take_no_time_is_orderly_if_nothing_holds_it(
    service: Service, mode: tuple[str, ...]
) -> None:
    extend(service, "atexit.register(lambda: open('ended', 'w').close())")
    service.start("--shutdown-timeout=0", "--linger=0s", *mode)

    service.manager.signal(signal.SIGTERM)

    assert service.manager.wait_exit() == 0
    assert (service.directory / "ended").exists()
    assert "exits" not in service.manager.stderr()
