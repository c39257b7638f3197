"""curl, wget, ab and httperf, each against an ASGI and a WSGI app."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.conformance.apps.common import PARTS
from tests.conformance.programs import run, version_of
from tests.conformance.serving import SUPERVISED, listening_on, reload, serving, start
from tests.support.manager import LIMIT, Manager, listening, open_sockets, wait_until
from tests.support.processes import workers

SIZE = 2_000_000
STREAM = "".join(PARTS)
REQUESTS = 2000
CONCURRENCY = 20
BURST = 5
"""Requests that httperf sends at a time on a connection."""

ENDLESS = 500_000
"""Requests, of which each takes memory of ab; more than it can send until the reload has ended."""


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an app until the end of the module, and return where."""
    log = tmp_path_factory.mktemp("clients") / "stderr.log"
    listener = listening()
    with serving(listener, log, f"client_{request.param}"):
        yield f"http://{listener.address}"


@pytest.fixture
def upload(tmp_path: Path) -> str:
    """Give a file to upload."""
    path = tmp_path / "upload"
    path.write_bytes(bytes(SIZE))
    return str(path)


@pytest.fixture
def curl(program: Callable[[str], str], passed: Callable[..., None]) -> Callable[..., str]:
    """Give a callable that takes what is asked for, and the arguments of curl."""
    return caller(program("curl"), "--silent", "--show-error", passed=passed)


@pytest.fixture
def wget(program: Callable[[str], str], passed: Callable[..., None]) -> Callable[..., str]:
    """Give a callable that takes what is asked for, and the arguments of wget."""
    return caller(program("wget"), "--tries=1", "--output-document=-", passed=passed)


@pytest.fixture
def ab(program: Callable[[str], str], passed: Callable[..., None]) -> Callable[..., str]:
    """Give a callable that takes what is asked for, and the arguments of ab."""
    return caller(program("ab"), "-q", passed=passed, version="-V", count=REQUESTS)


def caller(
    *command: str, passed: Callable[..., None], version: str = "--version", count: int = 1
) -> Callable[..., str]:
    """Return a callable that runs a program, and returns what it has printed; counts it as passed."""
    number = version_of(command[0], version)

    def call(what: str, *arguments: str, data: bytes = b"") -> str:
        output = run(*command, *arguments, data=data)
        passed(command[0], number, what, count)
        return output

    return call


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_curl_gets_what_it_asks_for(curl: Callable[..., str], url: str, version: str) -> None:
    assert curl(f"HTTP/{version}", f"--http{version}", url) == "hello\n"
    assert curl(f"HTTP/{version}", f"--http{version}", f"{url}/stream") == STREAM
    assert "HTTP/1.1 200 OK" in curl(f"HTTP/{version}", f"--http{version}", "--head", url)


def test_curl_keeps_the_connection(curl: Callable[..., str], url: str) -> None:
    connects = ("--write-out", "%{num_connects}\n")

    output = curl("kept connection", *connects, url, f"{url}/stream", url, "--head", url)

    assert [line for line in output.splitlines() if line in ("0", "1")] == ["1", "0", "0", "0"]


def test_curl_that_asks_for_http_2_is_answered_in_http_1_1(
    curl: Callable[..., str], url: str, upload: str
) -> None:
    said = ("--http2", "--write-out", "%{http_version} %{http_code} %{num_connects}\n")

    assert curl("upgrade to h2c", *said, url, url) == "hello\n1.1 200 1\nhello\n1.1 200 0\n"
    assert curl("upgrade to h2c", *said, "-T", upload, f"{url}/length") == f"{SIZE}\n1.1 200 1\n"


def test_curl_waits_for_100_continue(curl: Callable[..., str], url: str, upload: str) -> None:
    patient = ("--expect100-timeout", f"{LIMIT}", "--header", "Expect: 100-continue", "--include")

    output = curl("100-continue", *patient, "-T", upload, f"{url}/length")

    assert output.startswith("HTTP/1.1 100 Continue\r\n")
    assert output.endswith(f"\r\n\r\n{SIZE}\n")


def test_curl_need_not_send_a_body_that_nobody_reads(
    curl: Callable[..., str], url: str, upload: str
) -> None:
    patient = ("--expect100-timeout", f"{LIMIT}", "--header", "Expect: 100-continue")
    counted = ("--write-out", "%{http_code} %{size_upload}\n")

    output = curl("100-continue", *patient, *counted, "-T", upload, url)

    assert output == "hello\n200 0\n"


def test_curl_is_refused_before_it_sends_too_much(
    curl: Callable[..., str], manager: Manager, listener: Listener, upload: str
) -> None:
    start(manager, listener, "client_asgi", "--max-body-bytes=1M")
    patient = (
        "--expect100-timeout",
        f"{LIMIT}",
        "--header",
        "Expect: 100-continue",
        "--output",
        "/dev/null",
    )
    counted = ("--write-out", "%{http_code} %{size_upload}")

    output = curl("100-continue", *patient, *counted, "-T", upload, f"http://{listener.address}/length")

    assert output == "413 0"


def test_curl_sends_chunks(curl: Callable[..., str], url: str) -> None:
    target = f"{url}/length"

    assert curl("chunked upload", "-T", "-", target, data=bytes(SIZE)) == f"{SIZE}\n"
    assert curl("chunked upload", "-T", "-", target, target) == "0\n0\n"


def test_curl_in_parallel(curl: Callable[..., str], url: str) -> None:
    output = curl("parallel", "--parallel", "--parallel-immediate", "--no-progress-meter", f"{url}/[1-40]")

    assert output == 40 * "hello\n"


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_curl_on_a_unix_socket(curl: Callable[..., str], tmp_path: Path, kind: str) -> None:
    listener = listening_on("Unix socket", tmp_path)
    with serving(listener, tmp_path / "stderr.log", f"client_{kind}"):
        urls = ("http://test/stream", "http://test/")
        output = curl("Unix socket", "--unix-socket", listener.address, *urls)

    assert output == STREAM + "hello\n"


def test_wget_gets_files_on_one_connection(wget: Callable[..., str], url: str, tmp_path: Path) -> None:
    path = tmp_path / "got"
    output = wget("download", "--debug", url, f"{url}/stream", url, f"--output-document={path}")

    assert output.count("Reusing existing connection") == 2
    assert path.read_text() == f"hello\n{STREAM}hello\n"


def test_wget_sends_a_file(wget: Callable[..., str], url: str, upload: str) -> None:
    assert wget("upload", "--quiet", f"--post-file={upload}", f"{url}/length") == f"{SIZE}\n"


def test_wget_asks_for_the_head_alone(wget: Callable[..., str], url: str) -> None:
    assert "200 OK" in wget("HEAD", "--spider", "--server-response", url)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_ab_loses_no_request(ab: Callable[..., str], url: str, *, kept: bool) -> None:
    options = ("-n", f"{REQUESTS}", "-c", f"{CONCURRENCY}", *(("-k",) if kept else ()))

    report = ab("kept connections" if kept else "a connection for each request", *options, f"{url}/")

    assert numbers(report) == {
        "Complete requests": REQUESTS,
        "Failed requests": 0,
        **({"Keep-Alive requests": REQUESTS} if kept else {}),
    }


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_ab_loses_no_request_in_a_reload(
    program: Callable[[str], str],
    passed: Callable[..., None],
    manager: Manager,
    listener: Listener,
    kind: str,
    *,
    kept: bool,
) -> None:
    start(manager, listener, f"client_{kind}", *SUPERVISED)
    (worker,) = workers(manager.pid)
    before = open_sockets(worker)
    endless = ("-t", f"{LIMIT}", "-n", f"{ENDLESS}", "-c", f"{CONCURRENCY}")
    options = ("-q", *endless, *(("-k",) if kept else ()))
    command = [program("ab"), *options, f"http://{listener.address}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        try:
            wait_until(lambda: open_sockets(worker) > before)
            reload(manager)
            client.send_signal(signal.SIGINT)  # it reports, then
            report = client.communicate(timeout=LIMIT)[0]
        finally:
            client.kill()

    counts = numbers(report)
    complete = counts.pop("Complete requests")
    assert complete > 0, report
    assert not kept or counts.pop("Keep-Alive requests") >= complete, report
    assert counts == {"Failed requests": 0}, report
    passed("ab", version_of("ab", "-V"), "over a reload", complete)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_httperf_that_does_not_wait_for_responses_loses_none_in_a_reload(
    program: Callable[[str], str],
    passed: Callable[..., None],
    manager: Manager,
    listener: Listener,
    kind: str,
) -> None:
    start(manager, listener, f"client_{kind}", *SUPERVISED)
    host, port = listener.address.split(":")
    calls = ("--num-conns=100", "--rate=100", "--num-calls=20", f"--burst-length={BURST}")
    command = [program("httperf"), f"--server={host}", f"--port={port}", *calls]
    (worker,) = workers(manager.pid)
    before = open_sockets(worker)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        try:
            wait_until(lambda: open_sockets(worker) > before)
            while client.poll() is None:
                reload(manager)
            report = client.communicate(timeout=LIMIT)[0]
        finally:
            client.kill()

    assert "Total: connections 100 requests 2000 replies 2000" in report, report
    assert "Reply status: 1xx=0 2xx=2000 3xx=0 4xx=0 5xx=0" in report, report
    assert "Errors: total 0 " in report, report
    passed("httperf", version_of("httperf", "--version"), "pipelined over a reload", 2000)


def numbers(report: str) -> dict[str, int]:
    """Return what ab has counted; a line about responses other than 2xx is there only if there were any."""
    found = re.findall(
        r"^((?:Complete|Failed|Keep-Alive) requests|Non-2xx responses|Write errors): +(\d+)",
        report,
        re.MULTILINE,
    )
    return {name: int(number) for name, number in found}
