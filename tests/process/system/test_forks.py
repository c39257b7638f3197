"""Processes that an app makes: none of them is one of ours, and none of ours loses anything by them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_websocket

from sockact.sockets.fds import Listener
from tests.support.certificates import Authority
from tests.support.http_client import Client, get
from tests.support.manager import CHECKOUT, LIMIT, Manager, listening, wait_until
from tests.support.processes import workers

WAYS = ["process", "os", "pty", "daemon", "pool", "thread", "subprocess", "preexec", "spawn", "asyncio"]
SHAPES = ["alone", "supervised"]

OURS = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Forking:
    """The forking app, and all the processes that it has made."""

    def __init__(self, manager: Manager, listener: Listener, directory: Path) -> None:
        shutil.copy(CHECKOUT / "tests" / "apps" / "forking_app.py", directory / "app.py")
        self.manager = manager
        self.listener = listener
        self.directory = directory
        self.made: list[int] = []
        self._clients: list[Client] = []

    def start(
        self, shape: str = "alone", *options: str, app: str = "app:app", more: Any = (), **environ: str
    ) -> None:
        supervised = ("--workers=1", "--probation=0.1s") if shape == "supervised" else ()
        environ = {"RUNTIME_DIRECTORY": str(self.directory), **environ}
        self.manager.sockact(app, *supervised, *options, listeners=[self.listener, *more], **environ)
        self.manager.wait_ready()

    def client(self) -> Client:
        assert self.listener.sock is not None
        self._clients.append(Client(self.listener.sock.getsockname()))
        return self._clients[-1]

    def ask(self, path: str) -> Any:
        return json.loads(get(self.listener, path).body)["found"]

    def make(self, way: str) -> int:
        """Make the app start a process, and return its PID."""
        return self.has_made(self.ask(f"/make/{way}"))

    def has_made(self, pid: int) -> int:
        self.made.append(pid)
        return pid

    def serving(self) -> int:
        """Return the PID of the process that serves."""
        pid: int = json.loads(get(self.listener).body)["pid"]
        return pid

    def noted(self) -> list[int]:
        """Return the processes that were made where no client could ask for them."""
        pids = [int(path.suffix[1:]) for path in self.directory.glob("made.*")]
        self.made += [pid for pid in pids if pid not in self.made]
        return pids

    def stop(self) -> None:
        self.manager.signal(signal.SIGTERM)
        assert self.manager.wait_exit() == 0

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.noted()
        for pid in self.made:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def forking(manager: Manager, listener: Listener, tmp_path: Path) -> Iterator[Forking]:
    forking = Forking(manager, listener, tmp_path)
    yield forking
    forking.close()


def mask(pid: int, name: str) -> set[int]:
    """Return the signals in one of the masks of /proc/PID/status."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name)
    )
    bits = int(line.split()[1], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def sockets(pid: int) -> set[str]:
    """Return the sockets that a process holds."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(link))
    return {each for each in found if each.startswith("socket:")}


def settled(pid: int) -> None:
    """Wait until a process sleeps, or has executed another program: it is what it is going to be."""
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")


def assert_is_none_of_ours(pid: int, ours: int) -> None:
    wait_until(lambda: not mask(pid, "SigBlk"))  # as long as it is being made
    assert not mask(pid, "SigCgt") & {*OURS, signal.SIGABRT, signal.SIGCHLD}
    inherited = mask(os.getpid(), "SigIgn")  # of who has started the tests: nohup, a shell's `&`
    assert not (mask(pid, "SigIgn") - inherited) & {*OURS, signal.SIGINT}
    settled(pid)
    assert not sockets(pid) & sockets(ours)


def assert_ends(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    with contextlib.suppress(ProcessLookupError):
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_a_process_that_an_app_makes_is_none_of_ours(forking: Forking, way: str, shape: str) -> None:
    """It has default handlers, nothing blocked and nothing of ours open; who ends it ends nobody else."""
    forking.start(shape)
    kept = forking.client()
    kept.get()
    before = forking.serving()

    child = forking.make(way)
    assert_is_none_of_ours(child, before)
    os.kill(child, signal.SIGTERM)
    wait_until(lambda: is_gone(child))

    assert kept.get().json["pid"] == before
    assert forking.manager.said("STOPPING") == []
    forking.stop()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_app_can_end_what_multiprocessing_has_made(forking: Forking, shape: str) -> None:
    forking.start(shape)
    forking.make("process")

    assert forking.ask("/end") == -signal.SIGTERM
    assert forking.manager.said("STOPPING") == []
    forking.stop()


def test_a_child_that_is_ended_in_the_moment_of_its_start_ends_nobody_else(forking: Forking) -> None:
    """Before the child has handlers of its own, that is."""
    forking.start()

    assert forking.ask("/hurry/60") == [-signal.SIGTERM] * 60
    assert forking.manager.said("STOPPING") == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("where", ["FORK_AT_IMPORT", "FORK_AT_STARTUP", "FORK_IN_HOOK"])
def test_so_is_one_that_is_made_before_the_first_request(forking: Forking, where: str, shape: str) -> None:
    forking.start(shape, **{where: "process"})
    before = forking.serving()

    children = wait_until(lambda: len(found := forking.noted()) == (2 if "HOOK" in where else 1) and found)
    for child in children:
        assert_is_none_of_ours(child, before)
        os.kill(child, signal.SIGTERM)
        wait_until(lambda child=child: is_gone(child))

    assert forking.serving() == before
    forking.stop()


ON_TRIAL = """
if sockact.role() == "alone":
    note(opened(close_fds=False))
    open("held", "x").close()
    while os.path.exists("held"):
        time.sleep(0.01)
"""


def test_a_process_that_new_code_makes_on_trial_is_none_of_ours(forking: Forking) -> None:
    """The canary's: what tells it of its parent's end is no business of its children."""
    forking.start()
    assert not forking.noted()
    app = forking.directory / "app.py"
    app.write_text(app.read_text() + ON_TRIAL)

    forking.manager.signal(signal.SIGHUP)
    wait_until((forking.directory / "held").exists)
    canary = next(pid for pid in workers(forking.manager.pid) if workers(pid))
    (child,) = forking.noted()
    assert not sockets(child) & sockets(canary)
    (forking.directory / "held").unlink()
    forking.manager.signal(signal.SIGTERM)


@pytest.mark.parametrize("kind", ["wsgi", "stream", "connection", "awaited", "Handler"])
def test_so_is_one_that_is_made_by_another_kind_of_app(forking: Forking, kind: str) -> None:
    """Other clients' connections are closed in it; a handler of raw connections may pass on its own."""
    forking.start(app=f"app:{kind}")
    ours = forking.manager.pid
    other, client = forking.client(), forking.client()
    if kind == "wsgi":
        child = forking.has_made(client.get("/make/process").json["found"])
    else:
        other.send("/hello\n")
        assert other.read_line()
        client.send("/make/process\n")
        child = forking.has_made(json.loads(client.read_line())["found"])

    assert_no_handlers(child)
    settled(child)
    shared = sockets(child) & sockets(ours)
    assert len(shared) == (kind in ("connection", "awaited", "Handler"))
    os.kill(child, signal.SIGTERM)
    wait_until(lambda: is_gone(child))


def assert_no_handlers(pid: int) -> None:
    wait_until(lambda: not mask(pid, "SigBlk"))
    assert not mask(pid, "SigCgt") & {*OURS}


DEEDS = (("exits", 3), ("raises", 1), ("returns", 1))
COMING_BACK = [
    *((app, "", *deed) for app in ("app:app", "app:wsgi", "app:generator", "app:stream") for deed in DEEDS),
    # One that returns goes on with the connection that its handler was given, as long as that takes.
    *(("app:connection", "", *deed) for deed in DEEDS[:2]),
    *(("app:app", "/thread", *deed) for deed in DEEDS),
    ("app:app", "", "waits", 1),
]


@pytest.mark.parametrize(("app", "thread", "deed", "status"), COMING_BACK)
def test_a_child_that_comes_back_is_ended_and_nothing_else(
    forking: Forking, app: str, thread: str, deed: str, status: int
) -> None:
    """It does not answer, shut down, drain, or run hooks in its parent's place."""
    pid_file = forking.directory / "pid"
    forking.start("supervised", f"--pid-file={pid_file}", app=app)
    http = app in ("app:app", "app:wsgi", "app:generator")
    kept, client = forking.client(), forking.client()
    path = f"{thread}/child/{deed}"

    if http:
        before = kept.get().json["pid"]
        answer = client.get(path).json
        after = kept.get().json["pid"]
    else:
        kept.send("/\n")
        before = json.loads(kept.read_line())["pid"]
        client.send(path + "\n")
        answer = json.loads(client.read_line())
        kept.send("/\n")
        after = json.loads(kept.read_line())["pid"]

    assert answer == {"pid": before, "found": {"status": status, "said": ""}}
    assert after == before
    assert pid_file.exists()
    assert (forking.directory / "sockact.sock").exists()
    assert not list(forking.directory.glob("stopped.*"))
    assert forking.manager.said("STOPPING") == []
    if status == 1 and deed != "raises":
        assert "was forked by the app, and has returned to the code that serves" in forking.manager.stderr()
    kept.close()
    client.close()
    forking.stop()
    assert [path.name for path in forking.directory.glob("stopped.*")] == [f"stopped.{before}"]


FASTAPI = """
import os, sys
from fastapi import FastAPI

app = FastAPI()

def answer(deed):
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return deed()

def exits():
    sys.exit(3)

@app.get("/function/exits")
def function_exits():
    return answer(exits)

@app.get("/function/returns")
def function_returns():
    return answer(dict)

@app.get("/coroutine/exits")
async def coroutine_exits():
    return answer(exits)

@app.get("/coroutine/returns")
async def coroutine_returns():
    return answer(dict)

@app.middleware("http")
async def through(request, call_next):
    return await call_next(request)
"""


@pytest.mark.parametrize("kind", ["function", "coroutine"])
@pytest.mark.parametrize(("deed", "status"), [("exits", 3), ("returns", 1)])
def test_so_is_one_that_comes_back_to_a_framework(
    forking: Forking, kind: str, deed: str, status: int
) -> None:
    """Which has threads and tasks of its own."""
    (forking.directory / "app.py").write_text(FASTAPI)
    forking.start()

    assert json.loads(get(forking.listener, f"/{kind}/{deed}").body) == status


@pytest.mark.parametrize("thread", ["", "/thread"])
@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("runs_a_loop", "0"),
        ("runs_uvloop", "0"),
        ("asks", "role='' addresses={} request_reload: sockact does not serve in this process"),
        ("uses_the_loop", "goes on"),
        ("signals", "7"),
    ],
)
def test_a_child_is_a_process_like_any_other(forking: Forking, deed: str, said: str, thread: str) -> None:
    """It may run a loop of its own, handle signals, make children; and asks sockact in vain."""
    forking.start()
    forking.make("asyncio")  # for which uvloop has a handler of SIGCHLD

    found = forking.ask(f"{thread}/child/{deed}")

    assert found["status"] == 0
    assert found["said"].startswith(said)


def test_serve_in_a_child_of_what_serves_is_an_error(forking: Forking) -> None:
    forking.start()

    assert forking.ask("/child/serves")["status"] == 64
    assert "serve was called in a process that was forked from one that serves" in forking.manager.stderr()
    forking.stop()


def test_a_handler_may_let_a_child_serve_its_connection(forking: Forking) -> None:
    forking.start(app="app:lends")

    with forking.client() as client:
        assert client.read_line() == b"from the child\n"
        assert client.at_eof()


@pytest.mark.parametrize("handler", ["closes", "closes_awaited"])
def test_a_connection_ends_with_its_handler_though_a_child_was_given_it(
    forking: Forking, handler: str
) -> None:
    """Also if it is the handler that closes it."""
    forking.start(app=f"app:{handler}")

    with forking.client() as client:
        forking.has_made(int(client.read_line()))
        assert client.at_eof()


# What a C library forks keeps everything. Its clients see their end all the same.


def lingering_child(forking: Forking) -> None:
    """Give a process copies of all the connections that are open."""
    forking.make("libc")


def test_the_last_response_ends_its_connection_though_a_child_holds_it(forking: Forking) -> None:
    forking.start()
    with forking.client() as client:
        client.get()
        lingering_child(forking)
        client.ask_last()
        assert client.read().closes
        assert client.at_eof()


def test_so_does_the_end_of_keep_alive(forking: Forking) -> None:
    forking.start("alone", "--keep-alive=0.2s")
    with forking.client() as client:
        client.get()
        lingering_child(forking)
        assert client.at_eof()


@pytest.mark.parametrize("shape", SHAPES)
def test_so_does_the_end_of_keep_alive_with_a_child_of_multiprocessing(
    forking: Forking, shape: str
) -> None:
    forking.start(shape, "--keep-alive=0.2s")
    with forking.client() as client:
        client.get()
        forking.make("process")
        assert client.at_eof()


def test_so_does_a_reset_of_who_does_not_read(forking: Forking) -> None:
    forking.start("alone", "--write-timeout=0.3s", "--log-level=debug")
    with forking.client() as client:
        client.get()
        ends = [f"{port:04X}" for _, port in (client.sock.getpeername(), client.sock.getsockname())]
        lingering_child(forking)
        client.ask("/large")
        wait_until(lambda: "its client does not read" in forking.manager.stderr())
        wait_until(lambda: not is_known(ends))
        with pytest.raises(ConnectionResetError):
            read_to_the_end(client.sock)


def read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


def is_known(ends: list[str]) -> bool:
    """Tell whether the kernel has an end of a connection, by both ports. Source: proc_net_tcp.txt."""
    rows = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()]
    return ends in [[end.rpartition(":")[2] for end in row] for row in rows]


def test_so_does_a_websocket(forking: Forking) -> None:
    forking.start()
    with connect_websocket(f"ws://{forking.listener.address}/ws") as websocket:
        websocket.send("x")
        websocket.recv(LIMIT)
        lingering_child(forking)
        websocket.send("close")
        with pytest.raises(ConnectionClosed):
            websocket.recv(LIMIT)
        wait_until(lambda: websocket.socket.fileno() < 0)


def test_so_does_a_connection_over_tls(forking: Forking, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    forking.start("alone", f"--tls-certificate={pair.certificate}", f"--tls-key={pair.key}")
    assert forking.listener.sock is not None
    address = forking.listener.sock.getsockname()
    with (
        socket.create_connection(address, LIMIT) as raw,
        authority.client().wrap_socket(raw, server_hostname="localhost") as sock,
        socket.socket(fileno=os.dup(sock.fileno())) as beneath,
    ):
        sock.sendall(b"GET /make/libc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        forking.has_made(json.loads(answer.split(b"\r\n\r\n")[1])["found"])
        beneath.settimeout(LIMIT)
        assert beneath.recv(1) == b""


def test_so_does_one_whose_handshake_fails(forking: Forking, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    options = [
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
        "--tls-handshake-timeout=1s",
    ]
    other = listening(name="http")
    forking.start("alone", *options, more=[other])
    with forking.client() as client:
        client.send(b"\x16\x03\x01")  # the beginning of a handshake
        pid = json.loads(get(other, "/make/libc").body)["found"]
        forking.has_made(pid)
        with contextlib.suppress(ConnectionResetError):
            while client.read_bytes(1):
                pass
    other.close()


@pytest.mark.parametrize("word", ["/bye", "/fail"])
@pytest.mark.parametrize("kind", ["stream", "connection", "awaited", "Handler"])
def test_so_does_a_raw_connection(forking: Forking, kind: str, word: str) -> None:
    forking.start(app=f"app:{kind}")
    with forking.client() as client:
        client.send("/make/libc\n")
        forking.has_made(json.loads(client.read_line())["found"])
        client.send(f"{word if kind in ('connection', 'Handler') else '/bye'}\n")
        client.read_line()
        assert client.at_eof()


def test_so_does_the_end_of_a_drain_by_force(forking: Forking) -> None:
    forking.start("supervised", "--drain-timeout=0.3s", "--linger=0.1s", app="app:connection")
    with forking.client() as client:
        client.send("/make/libc\n")
        forking.has_made(json.loads(client.read_line())["found"])
        forking.manager.signal(signal.SIGTERM)
        assert client.at_eof()


def test_so_does_an_answer_on_the_health_socket(forking: Forking) -> None:
    health = listening(name="health")
    forking.start("alone", more=[health])
    assert health.sock is not None
    with Client(health.sock.getsockname()) as client:
        client.send("GET /-/ready HTTP/1.1\r\n")
        wait_until(lambda: len(sockets(forking.manager.pid)) > 5)
        lingering_child(forking)
        client.send("\r\n")
        assert client.read().status == 200
        assert client.at_eof()
    health.close()


def test_so_does_an_answer_on_the_control_socket(forking: Forking) -> None:
    forking.start()
    with Client(str(forking.directory / "sockact.sock")) as caller:
        before = len(sockets(forking.manager.pid))
        caller.send(b'{"verb": ')
        wait_until(lambda: len(sockets(forking.manager.pid)) >= before)
        lingering_child(forking)
        caller.send(b'"status"}\n')
        assert json.loads(caller.read_line())["ok"]
        assert caller.at_eof()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("app", ["app", "counted"])
def test_a_connection_that_moves_is_not_ended_by_who_gives_it_away(
    forking: Forking, app: str, shape: str
) -> None:
    app_file = forking.directory / "app.py"
    app_file.write_text(
        app_file.read_text()
        + "\nasync def counted(reader, writer, *, state=b'0'):\n"
        + "    if await reader.readline():\n"
        + "        state = b'%d' % (int(state) + 1)\n"
        + "        writer.write(b'%s %d\\n' % (state, os.getpid()))\n"
        + "        return sockact.Handover(state)\n"
    )
    forking.start(shape, app=f"app:{app}")
    with forking.client() as client:
        for number in range(1, 4):
            if app == "app":
                assert client.get().status == 200
                if number == 1:
                    lingering_child(forking)
            else:
                client.send("x\n")
                assert client.read_line().split()[0] == b"%d" % number
            forking.manager.signal(signal.SIGHUP)
            forking.manager.wait_for("RELOADING")
            forking.manager.wait_ready()


# Signals across exec, and descriptors.


def inheritable(pid: int) -> set[str]:
    """Return what a process passes on to a program that it executes."""
    found = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            flags = next(line for line in info.read_text().splitlines() if line.startswith("flags"))
            if int(info.name) > 2 and not int(flags.split()[1], 8) & os.O_CLOEXEC:
                found.add(f"{info.name}: {os.readlink(f'/proc/{pid}/fd/{info.name}')}")
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_all_that_a_process_of_ours_holds_is_close_on_exec(forking: Forking, shape: str) -> None:
    forking.start(shape)
    serving = forking.serving()

    before = inheritable(os.getpid())
    for pid in {forking.manager.pid, serving}:
        assert not inheritable(pid) - before


@pytest.mark.parametrize("workers_", [0, 1])
@pytest.mark.parametrize("place", ["below", "above", "forked"])
def test_a_helper_that_a_program_starts_can_be_ended(
    manager: Manager, listener: Listener, tmp_path: Path, workers_: int, place: str
) -> None:
    """Started before `serve`, also by the new code of a reload, it has nothing blocked that ends a process.

    What is started above the import of sockact may have others blocked, if the main process serves itself.
    """
    popen = "import subprocess\nhelper = subprocess.Popen(['sleep', '300'], close_fds=False).pid\n"
    fork = "import os, time\nif not (helper := os.fork()):\n    time.sleep(300)\n    os._exit(0)\n"
    lines = {
        "below": ["import sockact\n", popen],
        "above": [popen, "import sockact\n"],
        "forked": ["import sockact\n", fork],
    }
    (tmp_path / "main.py").write_text(
        "".join(lines[place]) + "open(f'helper.{helper}', 'w').close()\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200})\n"
        "    await send({'type': 'http.response.body', 'body': str(helper).encode()})\n"
        f"sockact.serve(app, workers={workers_}, probation=0.1, control='none')\n"
    )
    manager.start([sys.executable, "main.py"], [listener], SOCKACT_WORKERS=str(workers_))
    manager.wait_ready()
    try:
        for generation in (1, 2):
            child = int(get(listener).text)
            blocked = mask(child, "SigBlk")
            assert not blocked & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
            if place != "above" or generation == 1 or workers_:
                assert not blocked
            assert not mask(child, "SigCgt") & set(OURS)
            if workers_ and place == "below":
                assert not sockets(child)
            if generation == 1:
                manager.signal(signal.SIGHUP)
                manager.wait_for("RELOADING")
                manager.wait_ready()
    finally:
        for path in tmp_path.glob("helper.*"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.suffix[1:]), signal.SIGTERM)
    wait_until(lambda: is_gone(child))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP])
def test_a_signal_that_comes_while_new_code_is_imported_ends_or_halts_nobody(
    manager: Manager, listener: Listener, tmp_path: Path, number: signal.Signals
) -> None:
    """Before and after the import of sockact."""
    (tmp_path / "main.py").write_text(
        "import os, time\n"
        "def hold(name):\n"
        "    if 'SOCKACT_GENERATION' in os.environ and 'SOCKACT_CANARY' not in os.environ:\n"
        "        open(name, 'w').close()\n"
        "        while os.path.exists(name):\n"
        "            time.sleep(0.01)\n"
        "hold('before')\nimport sockact\nhold('after')\n"
        "async def app(scope, receive, send):\n    raise AssertionError\n"
        "sockact.serve(app, workers=0, control='none', lifespan='off')\n"
    )
    manager.start([sys.executable, "main.py"], [listener])
    manager.wait_ready()
    manager.signal(signal.SIGHUP)
    for name in ("before", "after"):
        wait_until((tmp_path / name).exists)
        manager.signal(number)
        (tmp_path / name).unlink()
    manager.wait_ready()
    if number is signal.SIGHUP:
        manager.wait_for("RELOADING")
        for name in ("before", "after"):
            wait_until((tmp_path / name).exists)
            (tmp_path / name).unlink()
        manager.wait_ready()
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0


# The program that multiprocessing runs again.

POOL = """
import concurrent.futures, multiprocessing, os, sockact
async def app(scope, receive, send):
    import asyncio
    global pool  # Python 3.13.0 stops at its end where a broken one was forgotten
    context = multiprocessing.get_context({method!r})
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    try:
        text = str(await asyncio.get_running_loop().run_in_executor(pool, os.getpid))
    except Exception as error:
        text = type(error).__name__
    await send({{'type': 'http.response.start', 'status': 200}})
    await send({{'type': 'http.response.body', 'body': text.encode()}})
{guard}sockact.serve(app, listen=["127.0.0.1:{port}"], lifespan="off", control="none")
"""


@pytest.mark.parametrize("workers_", ["0", "1"])
@pytest.mark.parametrize("call", ["serve", "command"])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_a_main_guard_is_not_served_again_by_multiprocessing(
    manager: Manager, tmp_path: Path, method: str, call: str, workers_: str
) -> None:
    listener = listening()
    assert listener.sock is not None
    port = listener.sock.getsockname()[1]
    listener.close()
    text = POOL.format(method=method, guard="", port=port)
    if call == "command":
        (tmp_path / "app.py").write_text(text.partition("sockact.serve")[0])
        options = [f"--listen=127.0.0.1:{port}", "--lifespan=off", "--control=none"]
        text = f"from sockact.cli.main import main\nmain({['run', *options, 'app:app']})\n"
    (tmp_path / "main.py").write_text(text)
    manager.start([sys.executable, "main.py"], SOCKACT_WORKERS=workers_)
    manager.wait_ready()

    assert get(("127.0.0.1", port)).text == "BrokenProcessPool"
    assert "a process of multiprocessing: nothing is served here; expected `if __name__" in manager.stderr()
    assert manager.stderr().count("listens on") == 1
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_with_a_main_guard_the_pool_works(manager: Manager, tmp_path: Path, method: str) -> None:
    listener = listening()
    assert listener.sock is not None
    port = listener.sock.getsockname()[1]
    listener.close()
    guard = 'if __name__ == "__main__": '
    (tmp_path / "main.py").write_text(POOL.format(method=method, guard=guard, port=port))
    manager.start([sys.executable, "main.py"], SOCKACT_WORKERS="1")
    manager.wait_ready()

    assert get(("127.0.0.1", port)).text.isdecimal()


def test_serve_in_a_forked_process_of_multiprocessing_is_an_error(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import multiprocessing, sockact\n"
        "child = multiprocessing.get_context('fork').Process(target=sockact.serve, args=(print,))\n"
        "child.start()\nchild.join()\nraise SystemExit(child.exitcode)\n"
    )
    manager.start([sys.executable, "main.py"])

    assert manager.wait_exit() == 64
    assert "serve was called in a process of multiprocessing" in manager.stderr()
    assert "listens" not in manager.stderr()
