"""The judge is judged: servers with known faults, and what the probe must say of them, no more, no less."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockact.probe.background import BackgroundProbe
from sockact.probe.outcome import UnservedError
from sockact.probe.report import document
from sockact.probe.run import RunPlan, run
from sockact.probe.spec import parse_spec
from sockact.probe.tls import TlsConnection
from sockact.probe.wire import Connection, IdleState, resolve
from tests.support.certificates import Authority
from tests.support.faulty import (
    GOOD,
    LIMIT,
    answer_and_close,
    close,
    echo,
    head,
    message,
    reset,
    serve,
    upgrade,
)

ROOT = Path(__file__).parents[3]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def probe(url, *loads, limit=LIMIT, **settings):
    specs = tuple(map(parse_spec, loads))
    run_of = RunPlan(resolve(url), specs, limit=limit, duration=LIMIT, **settings)
    return document(url, specs, asyncio.run(run(run_of, asyncio.Event(), [].append, lambda _: None)))


def outcomes(report):
    return {word: count for word, count in report["total"]["outcomes"].items() if count}


@contextmanager
def bound():
    """Give the URL of a port which is ours, and on which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


def replies(data):
    def handle(connection, number):
        head(connection)
        connection.sendall(data)

    return handle


def resets(after):
    def handle(connection, number):
        head(connection)
        connection.sendall(after)
        reset(connection)

    return handle


FAULTS = {
    "closes without a response": (replies(b""), "empty"),
    "resets without a response": (resets(b""), "reset"),
    "resets in the middle of a response": (resets(GOOD[:-1]), "reset"),
    "cuts off the head": (replies(GOOD[:20]), "wrong"),
    "cuts off the body": (replies(GOOD[:-1]), "wrong"),
    "cuts off a chunk": (replies(CHUNKED + b"5\r\nhi"), "wrong"),
    "leaves out the last chunk": (replies(CHUNKED + b"2\r\nhi\r\n"), "wrong"),
    "answers 503": (replies(GOOD.replace(b"200", b"503")), "wrong"),
    "speaks another protocol": (replies(b"220 mail.example.org ESMTP\r\n"), "wrong"),
}


@pytest.mark.parametrize("load", ["one-shot:2@max", "persistent:2@max"])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_counted_as_what_it_is(fault, load):
    handle, outcome = FAULTS[fault]
    with serve(handle) as url:
        report = probe(url, load, requests=3)

    assert outcomes(report) == {outcome: 6}
    assert report["lost"] == report["requests"] == report["total"]["connections"] == 6
    assert [failure["outcome"] for failure in report["failures"]] == [outcome] * 6


@pytest.mark.parametrize("load", ["one-shot:2@max", "persistent:2@max", "websocket:2@max"])
def test_a_port_on_which_nobody_listens_refuses(load):
    with bound() as url:
        report = probe(url, load, requests=3)

    assert outcomes(report) == {"refused": 6}
    assert report["total"]["connections"] == 0


def test_a_unix_socket_which_is_not_there_refuses(tmp_path):
    report = probe(f"unix:{tmp_path}/none", "one-shot:1@max", requests=3)

    assert outcomes(report) == {"refused": 3}


def test_a_unix_socket_is_asked_like_a_port(tmp_path):
    with serve(replies(GOOD), str(tmp_path / "good")) as url:
        report = probe(url, "one-shot:2@max", requests=3)

    assert outcomes(report) == {"ok": 6}


def test_a_full_backlog_of_a_unix_socket_is_waited_for_and_not_taken_for_an_answer(tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        report = probe(f"unix:{path}", "one-shot:2@max", requests=1, limit=0.1)

    assert outcomes(report) == {"timeout": 2}
    assert report["total"]["connections"] == 0


@pytest.mark.parametrize("load", ["one-shot:2@max", "persistent:2@max", "websocket:2@max"])
def test_a_server_which_never_answers_is_a_timeout(load):
    def silent(connection, number):
        while connection.recv(65536):
            pass

    with serve(silent) as url:
        report = probe(url, load, requests=1, limit=0.1)

    assert outcomes(report) == {"timeout": 2}


def test_a_server_which_closes_silent_connections_loses_only_those_which_pause():
    def impatient(connection, number):
        connection.settimeout(0.15)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return
        connection.settimeout(LIMIT)
        head(connection)
        connection.sendall(GOOD)

    with serve(impatient) as url:
        report = probe(url, "one-shot:1@max", "pause:2@max,pause=0.3", requests=1)

    assert report["loads"]["one-shot:1@max"]["lost"] == 0
    assert report["loads"]["pause:2@max,pause=0.3"]["outcomes"]["reset"] == 2


def test_a_connection_closed_while_idle_is_opened_again_and_nothing_is_lost():
    def handle(connection, number):
        head(connection)
        answer_and_close(connection)

    with serve(handle) as url:
        report = probe(url, "persistent:1@max", requests=4)

    assert outcomes(report) == {"ok": 4}
    assert (report["total"]["connections"], report["total"]["reconnects"]) == (4, 3)


def test_a_response_with_connection_close_is_followed_by_a_new_connection():
    with serve(replies(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as url:
        report = probe(url, "persistent:1@max", requests=4)

    assert outcomes(report) == {"ok": 4}
    assert (report["total"]["connections"], report["total"]["reconnects"]) == (4, 4)


def finish(connection):
    """End the stream beneath a request which has come: FIN, and no RST."""
    connection.recv(1, socket.MSG_PEEK)
    connection.shutdown(socket.SHUT_WR)
    head(connection)


def slam(connection):
    """Close while a request is unread, for which the kernel sends RST."""
    connection.recv(1, socket.MSG_PEEK)
    connection.close()


@pytest.mark.parametrize(("end", "outcome"), [(finish, "empty"), (slam, "reset")])
def test_a_connection_closed_at_the_moment_a_request_is_sent_loses_that_request(end, outcome):
    def handle(connection, number):
        head(connection)
        connection.sendall(GOOD)
        end(connection)

    with serve(handle) as url:
        report = probe(url, "persistent:1@max", requests=6)

    assert outcomes(report) == {"ok": 3, outcome: 3}
    assert (report["total"]["connections"], report["total"]["reconnects"]) == (3, 0)


def test_bytes_which_no_request_asked_for_are_not_taken_for_the_next_response():
    with serve(replies(GOOD + GOOD)) as url:
        report = probe(url, "persistent:1@max", requests=2)

    assert outcomes(report) == {"ok": 1, "wrong": 1}


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (lambda connection: connection.send(b"!"), IdleState.UNSOLICITED),
        (socket.socket.close, IdleState.CLOSED),
        (reset, IdleState.RESET),
        (socket.socket.getpeername, IdleState.ALIVE),
    ],
)
def test_a_look_at_an_idle_connection_tells_what_the_server_did(act, found):
    async def look(url):
        connection = await Connection.open(resolve(url))
        connected.set()
        try:
            await asyncio.to_thread(acted.wait, LIMIT)
            if found is not IdleState.ALIVE:
                # The segment is on its way: a busy kernel delivers it after close() has returned.
                await asyncio.to_thread(select.select, [connection._sock], [], [], LIMIT)
            return connection.look()
        finally:
            connection.close()
            over.set()

    def handle(connection, number):
        # Earlier, a reset would be one of the handshake.
        assert connected.wait(LIMIT)
        act(connection)
        acted.set()
        over.wait(LIMIT)

    connected, acted, over = threading.Event(), threading.Event(), threading.Event()
    with serve(handle) as url:
        assert asyncio.run(look(url)) is found


@pytest.fixture
def certificate(tmp_path):
    return Authority(tmp_path).issue("server").server()


def secured(certificate, handle):
    """Return a handler which shakes hands before `handle`."""

    def shake_hands(connection, number):
        with certificate.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls:
            handle(tls, number)

    return shake_hands


def say_goodbye(tls):
    """End the stream with a close_notify, and wait for the one of the client, or its end."""
    with contextlib.suppress(OSError):
        tls.unwrap()


def cut(tls):
    """End the stream without a word."""
    tls.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("load", ["one-shot:2@max", "persistent:2@max"])
@pytest.mark.parametrize(
    ("data", "end", "outcome"),
    [
        (GOOD, say_goodbye, "ok"),
        (GOOD[:-1], say_goodbye, "wrong"),
        (GOOD[:-1], cut, "reset"),
        (b"", say_goodbye, "empty"),
        (b"", cut, "reset"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", say_goodbye, "ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", cut, "reset"),
    ],
)
def test_each_fault_over_tls_is_counted_as_what_it_is(certificate, data, end, outcome, load):
    def handle(tls, number):
        head(tls)
        tls.sendall(data)
        end(tls)

    with serve(secured(certificate, handle)) as url:
        report = probe(url.replace("http", "https"), load, requests=3)

    assert outcomes(report) == {outcome: 6}


@pytest.mark.parametrize(
    ("data", "outcome"), [(b"", "reset"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "wrong")]
)
def test_a_handshake_which_fails_is_a_loss(data, outcome):
    def handle(connection, number):
        connection.recv(65536)
        connection.sendall(data)

    with serve(handle) as url:
        report = probe(url.replace("http", "https"), "one-shot:1@max", requests=2)

    assert outcomes(report) == {outcome: 2}


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (lambda tls: tls.send(b"!"), IdleState.UNSOLICITED),
        (say_goodbye, IdleState.CLOSED),
        (cut, IdleState.RESET),
        (socket.socket.getpeername, IdleState.ALIVE),
    ],
)
def test_a_look_at_an_idle_connection_over_tls_tells_what_the_server_did(certificate, act, found):
    async def look(url):
        connection = await TlsConnection.open(resolve(url))
        try:
            await connection.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await connection.receive() == GOOD  # whoever has read it, has read the tickets before
            await asyncio.to_thread(answered.wait, LIMIT)
            if found is not IdleState.ALIVE:
                await asyncio.to_thread(select.select, [connection._sock], [], [], LIMIT)
            return connection.look()
        finally:
            connection.close()
            over.set()

    def handle(tls, number):
        head(tls)
        tls.sendall(GOOD)
        answered.set()
        act(tls)
        over.wait(LIMIT)

    answered, over = threading.Event(), threading.Event()
    with serve(secured(certificate, handle)) as url:
        assert asyncio.run(look(url.replace("http", "https"))) is found


def test_an_upload_which_the_service_saw_differently_is_wrong():
    def handle(connection, number):
        head(connection)
        connection.recv(65536)
        body = b'{"length": 2048, "sha256": "0"}'
        fields = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
        connection.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (fields, body))
        while connection.recv(65536):
            pass

    with serve(handle) as url:
        report = probe(url, "upload:1@max,chunks=2,seconds=0.02", requests=2)

    assert outcomes(report) == {"wrong": 2}


def test_an_upload_cut_off_in_the_middle_is_a_reset():
    def handle(connection, number):
        head(connection)
        connection.recv(1, socket.MSG_PEEK)

    with serve(handle) as url:
        report = probe(url, "upload:1@max,chunks=4,seconds=0.2", requests=2)

    assert outcomes(report) == {"reset": 2}


@pytest.mark.parametrize(
    ("stream", "outcome"),
    [
        (b"2\r\n0\n\r\n2\r\n1\n\r\n0\r\n\r\n", "ok"),
        (b"2\r\n0\n\r\n2\r\n1\n\r\n", "wrong"),
        (b"2\r\n0\n\r\n0\r\n\r\n", "wrong"),
        (b"2\r\n0\n\r\n2\r\n0\n\r\n0\r\n\r\n", "wrong"),
    ],
    ids=["complete", "cut", "too short", "twice the same"],
)
def test_a_stream_must_be_complete_and_correct(stream, outcome):
    with serve(replies(CHUNKED + stream)) as url:
        report = probe(url, "stream:1@max,chunks=2,interval=0.01", requests=2)

    assert outcomes(report) == {outcome: 2}


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda connection, _: connection.close(), "empty"),
        (lambda connection, _: reset(connection), "reset"),
        (lambda connection, protocol: close(connection, protocol, 1001), "wrong"),
        (lambda connection, protocol: echo(connection, protocol, "other"), "wrong"),
        (lambda connection, protocol: close(connection, protocol, 1012), "closed"),
    ],
    ids=["FIN", "RST", "close 1001", "wrong echo", "close 1012"],
)
def test_a_message_in_flight_has_the_outcome_of_its_session(end, outcome):
    def handle(connection, number):
        protocol = upgrade(connection)
        message(connection, protocol)
        if number == 0:
            end(connection, protocol)
        else:
            echo(connection, protocol, "2")
            message(connection, protocol)

    with serve(handle) as url:
        report = probe(url, "websocket:1@max", requests=2)

    # Two handshakes and two messages.
    assert outcomes(report) == {"ok": 3, outcome: 1}
    assert report["total"]["connections"] == 2
    assert report["total"]["restarts"] == (outcome == "closed")
    assert report["lost"] == (outcome != "closed")


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1012, {"ok": 4}), (1001, {"ok": 4, "wrong": 1}), (None, {"ok": 4, "empty": 1})],
)
def test_an_idle_session_may_end_by_service_restart_and_by_nothing_else(code, expected):
    def handle(connection, number):
        protocol = upgrade(connection)
        echo(connection, protocol, message(connection, protocol))
        if number == 0 and code is not None:
            close(connection, protocol, code)
        elif number == 1:
            message(connection, protocol)

    with serve(handle) as url:
        report = probe(url, "websocket:1@2", requests=2)

    assert outcomes(report) == expected
    assert report["total"]["restarts"] == (code == 1012)
    assert report["total"]["connections"] == 2


def test_a_handshake_which_is_declined_is_wrong():
    with serve(replies(GOOD)) as url:
        report = probe(url, "websocket:1@max", requests=2)

    assert outcomes(report) == {"wrong": 2}


def test_latency_counts_from_when_the_request_should_have_been_sent():
    def handle(connection, number):
        head(connection)
        time.sleep(0.3)  # the fault: the first request stalls, the others are answered at once
        for _ in range(10):
            connection.sendall(GOOD)
            head(connection)

    with serve(handle) as url:
        report = probe(url, "persistent:1@50", requests=10)

    # Due every 20 ms, none answered before 300 ms: the fifth waited for 220 ms, though not on the wire.
    assert outcomes(report) == {"ok": 10}
    assert report["total"]["latency_ms"]["p50"] >= 200
    assert report["total"]["stall"] >= 0.3


def test_an_open_connection_reports_a_refusal_with_its_errno():
    with bound() as url, pytest.raises(UnservedError, match="refused: connect: ECONNREFUSED"):
        asyncio.run(Connection.open(resolve(url)))


@contextmanager
def service(listener):
    """Run the load app in uvicorn on a listener which stays the caller's; give URL and process."""
    argv = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "tests/apps"), "load_app:app"]
    options = ["--fd", str(listener.fileno()), "--log-level", "error"]
    process = subprocess.Popen([*argv, *options], pass_fds=[listener.fileno()])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", process
    finally:
        process.kill()
        process.wait(LIMIT)


@pytest.fixture(scope="module")
def good():
    with socket.create_server(("127.0.0.1", 0)) as listener, service(listener) as (url, process):
        assert probe(url, "one-shot:1@max", requests=1)["lost"] == 0
        yield url, process


@pytest.mark.parametrize(
    "load",
    [
        "one-shot:4@50",
        "one-shot:4@max",
        "pause:2@max,pause=0.02",
        "persistent:4@50",
        "persistent:4@max",
        "slow:2@max,seconds=0.05",
        "upload:2@max,chunks=4,seconds=0.05",
        "stream:2@max,chunks=4,interval=0.01",
        "websocket:4@50",
        "websocket:4@max",
    ],
)
def test_a_good_service_loses_nothing(good, load):
    url, process = good
    report = probe(url, load, requests=5)

    assert outcomes(report) == {"ok": report["requests"]}
    assert [(one["version"], one["pid"]) for one in report["seen"]] == [("1", process.pid)]
    assert report["started"] is not None
    assert report["total"]["reconnects"] == 0


@contextmanager
def command(*arguments):
    """Run the command with these arguments; it is killed if the test leaves it."""
    argv = [sys.executable, "-m", "sockact.probe", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process):
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


def test_a_window_of_the_run_ends_when_the_caller_says_so(good):
    with BackgroundProbe(good[0], ["persistent:1@50"]) as clients:
        clients.cut()
        report = clients.report()

    (window,) = report["windows"]
    assert window["stall"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_flight_finish_and_then_comes_the_report(number):
    asked, release = threading.Event(), threading.Event()

    def handle(connection, _):
        head(connection)
        asked.set()
        release.wait(LIMIT)
        connection.sendall(GOOD)

    with serve(handle) as url, command("--json", url, "one-shot:1@20") as process:
        assert asked.wait(LIMIT)
        process.send_signal(number)
        wait_handled(process.pid, number)
        release.set()
        status, output = finished(process)

    report = json.loads(output)
    assert (status, report["requests"], outcomes(report)) == (0, 1, {"ok": 1})


def wait_handled(pid, number):
    """Wait until a signal has been taken: the probe hands the second one back to the kernel's default."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if not caught >> (signal.SIGTERM - 1) & 1:
            return
        os.sched_yield()
    raise AssertionError(f"signal {number} was not taken in {LIMIT} s")


def test_a_killed_worker_is_counted_in_every_kind_of_load():
    loads = ("one-shot:2@max", "persistent:2@max", "slow:2@max,seconds=0.2", "websocket:2@max")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        service(listener) as (url, worker),
        command("--json", url, *loads) as process,
    ):
        assert process.stderr.readline() == "started\n"
        worker.kill()
        worker.wait(LIMIT)
        hang_up_on_each_load(listener)
        process.terminate()
        listener.close()
        status, output = finished(process)

    report = json.loads(output)
    assert status == 1
    assert all(load["lost"] > 0 for load in report["loads"].values()), output
    assert outcomes(report).keys() <= {"ok", "refused", "reset", "empty"}


def hang_up_on_each_load(listener):
    """Close connections without a response until one of each of the four loads was among them."""
    listener.settimeout(LIMIT)
    seen = set()
    while len(seen) < 4:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(LIMIT)
            request = head(connection)
            seen.add((request.split(b" ")[1], b"Connection: close" in request))


def test_the_default_loads_are_fit_for_any_service():
    handle = replies(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    with serve(handle) as url, command(url, "--requests", "1") as process:
        status, output = finished(process)

    assert status == 0
    assert " requests lost in " in output


def test_a_client_which_is_never_served_ends_the_run_after_the_start_limit():
    with bound() as url, command(url, "one-shot:1@20", "--start-limit", "0.1") as process:
        output, errors = process.communicate(timeout=LIMIT)

    assert process.returncode == 1
    assert errors == "not started: 1 of 1 clients were never served\n"
    assert "not every client was served" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: URL"),
        (["ftp://localhost"], "neither http[s]://HOST"),
        (["http://127.0.0.1", "one-shot"], "is not KIND:CLIENTS@RATE"),
        (["http://127.0.0.1", "one-shot:1@1", "one-shot:1@1"], "given twice"),
        (["http://127.0.0.1", "--limit", "0"], "argument --limit"),
        (["http://127.0.0.1", "--requests", "0"], "argument --requests"),
    ],
)
def test_wrong_usage_has_exit_status_64_and_a_reason(arguments, reason):
    with command(*arguments) as process:
        _, errors = process.communicate(timeout=LIMIT)

    assert process.returncode == 64
    assert reason in errors
