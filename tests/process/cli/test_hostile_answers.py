"""`sockact status` and `reload` against whoever listens: root asks where others may put what they like."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sockact.cli import reload as reload_command
from sockact.cli import status as status_command
from sockact.errors import UnavailableError
from sockact.protocols import control, control_address
from tests.support.commands import ask, run
from tests.support.manager import CHECKOUT, LIMIT, wait_until
from tests.support.service import Service

WORKER = {
    "worker": 1,
    "generation": 1,
    "version": "1.2",
    "pid": 812,
    "phase": "ready",
    "uptime": 61.2,
    "requests": 1042,
    "in_flight": 1,
    "connections": 9,
    "rss": 41943040,
}
STATUS: dict[str, Any] = {
    "phase": "active",
    "pid": 812,
    "status": "gen 1: 1 worker ready, 0 in flight",
    "generation": 1,
    "sockets": [{"name": "web", "kind": "stream socket", "address": "127.0.0.1:8000"}],
    "reload": {"at": 1790000000.0, "ok": True, "text": "gen 3 is ready"},
    "reloads": {"ok": 2, "failed": 0},
    "requests": 20981,
    "workers": [WORKER],
}
FORMS = [(), ("--json",), ("--prometheus",)]

Behaviour = Callable[[socket.socket], None]


class Hostile:
    """Listens where a service should, and does with each caller what it was made for.

    Attributes:
        sent: how many bytes it has got rid of.
    """

    def __init__(self, path: Path, behave: Behaviour) -> None:
        self.path = path
        self.sent = 0
        self._behave = behave
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(LIMIT)
                connection.recv(4096)
                self._behave(connection)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Callable[[Behaviour], Hostile]]:
    """Give what starts such a server."""
    with contextlib.ExitStack() as stack:

        def start(behave: Behaviour) -> Hostile:
            server = Hostile(tmp_path / "sockact.sock", behave)
            stack.callback(server.close)
            return server

        yield start


def saying(data: bytes) -> Behaviour:
    return lambda connection: connection.sendall(data)


def assert_one_line(done: tuple[int, str, str]) -> None:
    """A refusal is one line on stderr, and the service is unavailable."""
    status, out, err = done
    assert (status, out) == (69, "")
    assert err.startswith("sockact: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert len(err) < 1000


def line_of(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


ANSWERS = {
    "hangs up": b"",
    "half a line": b'{"ok": true, "te',
    "empty line": b"\n",
    "no JSON": b"active\n",
    "a list": b"[]\n",
    "null": b"null\n",
    "a number": b"1\n",
    "a text": b'"ok"\n',
    "an empty object": b"{}\n",
    "no text": b'{"ok": true}\n',
    "no verdict": b'{"text": ""}\n',
    "a verdict that is a number": b'{"ok": 1, "text": ""}\n',
    "a verdict that is a text": b'{"ok": "true", "text": ""}\n',
    "a text that is null": b'{"ok": false, "text": null}\n',
    "a text that is a list": b'{"ok": false, "text": [1]}\n',
    "no UTF-8": b'{"ok": false, "text": "\xff"}\n',
    "UTF-16": '{"ok": false, "text": ""}\n'.encode("utf-16")[:-1],
    "NUL": b"\0\n",
    "NUL in a text": b'{"ok": false, "text": "\0"}\n',
    "half a surrogate pair": b'{"ok": false, "text": "\\ud800"}\n',
    "half a surrogate pair elsewhere": b'{"ok": false, "text": "", "\\udfff": 1}\n',
    "nested lists": b"[" * 1_000_000 + b"\n",
    "nested lists that end": b"[" * 1_000_000 + b"]" * 1_000_000 + b"\n",
    "nested objects": b'{"a":' * 500_000 + b"\n",
    "something nested beside": b'{"ok": false, "text": "", "x": ' + b"[" * 10**6 + b"]" * 10**6 + b"}\n",
    "a long number": b'{"ok": false, "text": "", "x": ' + b"9" * 5000 + b"}\n",
    "not a number": b'{"ok": false, "text": "", "x": NaN}\n',
    "infinity": b'{"ok": false, "text": "", "x": 1e999}\n',
    "too long": b'{"ok": false, "text": "' + b"x" * control.ANSWER_LIMIT + b'"}\n',
    "too many lists": b"[" + b"[]," * 1_400_000 + b"[]]\n",
}


@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none_is_one_line_of_error(
    hostile: Callable[[Behaviour], Hostile], capsys: pytest.CaptureFixture[str], verb: str, answer: str
) -> None:
    server = hostile(saying(ANSWERS[answer]))

    assert_one_line(run(capsys, verb, f"--control={server.path}"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the way to each part of a value."""
    yield path
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    for key in keys:
        yield from places(value[key], (*path, key))


def changed(path: tuple[Any, ...], new: object) -> Any:
    """Return the status with another value in one place; `...` for none."""
    root = {"service": copy.deepcopy(STATUS)}
    inner: Any = root
    *way, last = ("service", *path)
    for key in way:
        inner = inner[key]
    if new is ...:
        del inner[last]
    else:
        inner[last] = new
    return root.get("service", ...)


VALUES: list[Any] = [
    *(..., None, True, -1, 0, 2**63, 10**400, 1.5, 1e11, 1e300),
    *("", "x", "\x1b[2J\n", [], [[]], {}, {"a": []}, [None]),
]


@pytest.mark.parametrize("form", FORMS)
def test_whatever_a_status_has_in_whatever_place_is_shown_or_refused(
    hostile: Callable[[Behaviour], Hostile], capsys: pytest.CaptureFixture[str], form: tuple[str, ...]
) -> None:
    statuses = [changed(path, value) for path in places(STATUS) for value in VALUES]
    todo = iter(statuses)

    def behave(connection: socket.socket) -> None:
        service = next(todo)
        answer = {"ok": True, "text": ""} | ({} if service is ... else {"service": service})
        connection.sendall(line_of(answer))

    server = hostile(behave)
    refused = 0
    for status in statuses:
        code, out, err = run(capsys, "status", f"--control={server.path}", *form)
        if code:
            assert_one_line((code, out, err))
            refused += 1
        else:
            assert out, status
            assert not err
    assert len(statuses) / 2 < refused < len(statuses)


def test_what_a_later_version_adds_is_no_fault(
    hostile: Callable[[Behaviour], Hostile], capsys: pytest.CaptureFixture[str]
) -> None:
    status = {**STATUS, "weather": "fair", "workers": [{**WORKER, "mood": ["fine"]}]}
    server = hostile(saying(line_of({"ok": True, "text": "", "service": status, "more": 1})))

    for form in FORMS:
        assert run(capsys, "status", f"--control={server.path}", *form)[0] == 0


def test_a_large_service_is_shown(
    hostile: Callable[[Behaviour], Hostile], capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand workers, and four generations of them that drain."""
    status = {**STATUS, "workers": [{**WORKER, "version": "x" * 256}] * 5000}
    line = line_of({"ok": True, "text": "", "service": status})
    server = hostile(saying(line))

    code, out, _ = run(capsys, "status", f"--control={server.path}")

    assert code == 0
    assert out.count("\n") > 5000


def test_the_status_of_a_thousand_workers_arrives_whole(tmp_path: Path) -> None:
    """It is more than the kernel takes at once."""
    status = {**STATUS, "workers": [WORKER] * 5000}

    async def ask_server() -> dict[str, Any]:
        listener = control_address.open_server(str(tmp_path / "sockact.sock"))
        assert listener is not None
        with listener:
            server = control.ControlServer(listener, Mock(), lambda: status)
            where = str(tmp_path / "sockact.sock")
            answer = await asyncio.to_thread(control.request, "status", where)
            server.close()
        return answer

    assert asyncio.run(ask_server())["service"] == status


def test_a_result_of_any_length_arrives_cut(tmp_path: Path) -> None:
    def refuse(caller: control.Caller) -> None:
        caller.answer(False, "\N{SNOWMAN}" * 10**6)

    async def ask_server() -> dict[str, Any]:
        listener = control_address.open_server(str(tmp_path / "sockact.sock"))
        assert listener is not None
        with listener:
            server = control.ControlServer(listener, Mock(request_reload=refuse), dict)
            answer = await asyncio.to_thread(control.request, "reload", str(tmp_path / "sockact.sock"))
            server.close()
        return answer

    assert asyncio.run(ask_server()) == {"ok": False, "text": "\N{SNOWMAN}" * control.TEXT_LIMIT}


@pytest.mark.parametrize("verb", ["status", "reload"])
def test_who_does_not_want_to_wait_any_more_sees_no_traceback(
    hostile: Callable[[Behaviour], Hostile], verb: str
) -> None:
    asked = threading.Event()

    def wait(connection: socket.socket) -> None:
        asked.set()
        silent(connection)

    server = hostile(wait)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "sockact", verb, f"--control={server.path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environ) as process:
        assert asked.wait(LIMIT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, err) == (-signal.SIGINT, b"")


def test_who_reads_only_the_beginning_of_a_status_sees_no_traceback(
    hostile: Callable[[Behaviour], Hostile],
) -> None:
    status = {**STATUS, "workers": [WORKER] * 5000}
    server = hostile(saying(line_of({"ok": True, "text": "", "service": status})))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    command = f"{sys.executable} -m sockact status --control={server.path} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, env=environ, timeout=LIMIT, check=True)

    assert (done.stdout, done.stderr) == (b"active: gen 1: 1 worker ready, 0 in flight\n", b"")


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def endless_lines(connection: socket.socket) -> None:
    while True:
        connection.sendall(b'{"ok": true, "text": ""}\n' * 3000)


@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize("behave", [endless, endless_lines])
def test_an_answer_without_an_end_is_not_read_for_ever(
    hostile: Callable[[Behaviour], Hostile],
    capsys: pytest.CaptureFixture[str],
    verb: str,
    behave: Behaviour,
) -> None:
    sent = 0

    def count(connection: socket.socket) -> None:
        class Counting:
            def sendall(self, data: bytes) -> None:
                nonlocal sent
                connection.sendall(data)
                sent += len(data)

        behave(Counting())  # type: ignore[arg-type]  # all of a socket that it takes

    server = hostile(count)

    assert_one_line(run(capsys, verb, f"--control={server.path}"))
    assert sent < 4 * control.ANSWER_LIMIT


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def trickling(connection: socket.socket) -> None:
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize("behave", [silent, trickling])
def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(
    hostile: Callable[[Behaviour], Hostile],
    capsys: pytest.CaptureFixture[str],
    verb: str,
    behave: Behaviour,
) -> None:
    server = hostile(behave)

    done = run(capsys, verb, f"--control={server.path}", "--timeout=300ms")

    assert_one_line(done)
    assert f"no answer from {server.path} within 0.3 s" in done[2]
    assert ("the reload may still be under way" in done[2]) is (verb == "reload")


def test_a_status_has_a_limit_that_nobody_has_to_ask_for(
    hostile: Callable[[Behaviour], Hostile],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_command, "STATUS_TIMEOUT", "200ms")
    monkeypatch.setattr(reload_command, "RELOAD_TIMEOUT", "300ms")
    server = hostile(silent)

    assert "within 0.2 s" in run(capsys, "status", f"--control={server.path}")[2]
    assert "within 0.3 s" in run(capsys, "reload", f"--control={server.path}")[2]


@pytest.mark.parametrize("verb", ["status", "reload"])
def test_a_service_that_takes_no_calls_is_not_waited_for_for_ever(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(control, "CONNECT_TIMEOUT", 0.3)
    path = tmp_path / "sockact.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))

        done = run(capsys, verb, f"--control={path}", "--timeout=none")

    assert_one_line(done)
    assert "accepts no connection within 0.3 s" in done[2]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.symlink_to("nothing")


def loop(path: Path) -> None:
    path.symlink_to(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize(
    "make", [fifo, dangling, loop, device, dead, Path.mkdir, Path.touch, lambda _: None]
)
def test_what_is_no_socket_that_listens_is_one_line_of_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "sockact.sock")

    assert_one_line(run(capsys, verb, f"--control={tmp_path / 'sockact.sock'}"))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_kind_is_one_line_of_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: int
) -> None:
    path = tmp_path / "sockact.sock"
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))

        assert_one_line(run(capsys, "status", f"--control={path}"))


def test_a_path_that_no_socket_can_have_is_one_line_of_error(capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "status", f"--control=/{'x' * 200}")

    assert_one_line(done)
    assert "path too long" in done[2]


@pytest.mark.parametrize("text", ["soon", "-1", ""])
def test_a_time_that_is_none_is_a_fault_of_the_command_line(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    status, _, err = run(capsys, "status", "--control=/x", f"--timeout={text}")

    assert status == 64 or not text
    assert "--timeout=" in err or not text


def test_a_service_whose_words_the_terminal_lacks_is_shown_all_the_same(
    hostile: Callable[[Behaviour], Hostile],
) -> None:
    status = {**STATUS, "status": "gen 1: \N{SNOWMAN}"}
    server = hostile(saying(line_of({"ok": True, "text": "\N{SNOWMAN}", "service": status})))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "latin-1"}
    for verb in ("status", "reload"):
        command = [sys.executable, "-m", "sockact", verb, f"--control={server.path}"]
        done = subprocess.run(command, capture_output=True, env=environ, timeout=LIMIT, check=False)

        assert done.returncode == 0, done.stderr
        assert b"\\u2603" in done.stdout


def test_a_reload_may_take_as_long_as_it_takes(
    hostile: Callable[[Behaviour], Hostile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONNECT_TIMEOUT", 0.1)

    def late(connection: socket.socket) -> None:
        time.sleep(0.5)
        connection.sendall(line_of({"ok": True, "text": "gen 2 is ready"}))

    server = hostile(late)

    assert control.request("reload", str(server.path), patience=None)["text"] == "gen 2 is ready"
    assert control.request("reload", str(server.path), patience=LIMIT)["ok"]
    with pytest.raises(UnavailableError, match=r"within 0\.1 s"):
        control.request("reload", str(server.path), patience=0.1)


def test_a_real_service_answers_in_time(service: Service) -> None:
    service.start("--workers=1")

    wait_until(lambda: ask(service, "--timeout=20s").stdout.startswith("active: gen 1: 1 worker ready"))
    assert ask(service, "--timeout=none", "--json").returncode == 0


HUNG_UP = """
import signal, socket
from sockact.errors import UnavailableError
from sockact.protocols import control

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in a command, whose own output may be read by nobody
ours, theirs = socket.socketpair()
theirs.close()
try:
    control.ask(ours, "status", "here")
except UnavailableError as error:
    print(error)
"""


def test_a_service_that_has_hung_up_does_not_end_the_command_by_a_signal() -> None:
    command = [sys.executable, "-c", HUNG_UP]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=LIMIT, check=False)

    assert (done.returncode, done.stdout) == (0, "the service ended before it answered\n"), done
