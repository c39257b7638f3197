"""Connections in every stage as a drain begins: what was begun is completed, and the drain ends."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_client import Client, get
from tests.support.served import Served, reset, served

APPS = [
    ("contrary_asgi", "uvloop"),
    ("contrary_asgi", "asyncio"),
    ("contrary_wsgi", "uvloop"),
    ("contrary_wsgi", "asyncio"),
]

OPTIONS = ("--threads=40", "--linger=500ms", "--drain-timeout=20s")

GET = "GET /{} HTTP/1.1\r\nHost: test\r\n\r\n"
UPLOAD = "POST /{} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture(params=APPS, ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    app, loop = request.param
    (tmp_path / "file").write_bytes(300_000 * b"f")
    with served(tmp_path, app, f"--loop={loop}", *OPTIONS) as service:
        yield service


def begun(service: Served, client: Client, path: str, key: str) -> None:
    client.send(GET.format(f"{path}?{key}"))
    service.wait_noted(f"begun-{key}")


def test_each_is_completed(service: Served) -> None:
    with contextlib.ExitStack() as stack:
        # Whatever is needed during the drain asks on connections that are open by then.
        opened = [stack.enter_context(service.client()) for _ in range(14)]
        fresh, part, upload, due, responding, pipeline, half, half_stream, rest = opened[:9]
        gone, gone_stream, large, unread, idle = opened[9:]
        part.send("GET /hello HT")
        upload.send(UPLOAD.format("echo") + "01234")
        begun(service, due, "held", "all")
        begun(service, responding, "streamed", "all")
        pipeline.send(GET.format("held?all") + 5 * GET.format("hello"))
        begun(service, half, "held", "all")
        begun(service, half_stream, "streamed", "all")
        for client in (half, half_stream):
            client.sock.shutdown(socket.SHUT_WR)
        rest.send(UPLOAD.format("raises").replace("10", "1000000") + "01234")
        assert rest.read().status == 500
        begun(service, gone, "held", "all")
        begun(service, gone_stream, "streamed", "all")
        for client in (gone, gone_stream):
            reset(client)
        large.send(GET.format("large"))
        unread.send(GET.format("large"))
        assert idle.get("/hello").text == "hello"
        releases = threading.Timer(0.3, idle.send, [GET.format("let-go?all")])
        service.mark()

        service.manager.signal(signal.SIGTERM)
        service.manager.wait_for("STOPPING", "1")
        part.send("TP/1.1\r\nHost: test\r\n\r\n")
        fresh.send(GET.format("hello"))
        upload.send("56789")
        releases.start()

        assert part.read().text == fresh.read().text == "hello"
        assert upload.read().text == "0123456789"
        assert due.read().text == half.read().text == "held"
        assert responding.read().text == half_stream.read().text == "begunended"
        assert pipeline.read().text == "held"
        assert [pipeline.read().text for _ in range(5)] == 5 * ["hello"]
        assert idle.read().status == 200
        assert len(large.read().body) == len(unread.read().body) == 8 << 20
        assert all(client.at_eof() for client in (part, fresh, upload, due, half, half_stream, idle))
        assert all(client.at_eof() for client in (responding, pipeline, large, unread, rest))
        assert service.manager.wait_exit() == 0
    assert "Traceback" not in service.log()
    assert "aborted" not in service.log()


def test_streams_end_after_their_grace(tmp_path: Path) -> None:
    options = (*OPTIONS, "--stream-grace=200ms")
    with served(tmp_path, "contrary_asgi", *options) as service, contextlib.ExitStack() as stack:
        paths = ["streams", "sends", "sends-for-ever", "listens"]
        clients = [stack.enter_context(service.client()) for _ in paths]
        for path, client in zip(paths, clients, strict=True):
            if path == "listens":
                client.send(GET.format("streams?listens"))
                client.sock.shutdown(socket.SHUT_WR)
            else:
                client.send(GET.format(f"{path}?{path}"))
            client.read_head()
        service.manager.signal(signal.SIGTERM)
        service.manager.wait_for("STOPPING", "1")

        for client in clients:
            with pytest.raises((ConnectionError, ValueError)):
                client.read_chunk() and [*iter(client.read_chunk, None)]
        assert service.manager.wait_exit() == 0
    assert "Traceback" not in service.log()


class Pipelining(threading.Thread):
    """A client that always has so many requests outstanding; when it is told, it connects anew."""

    def __init__(self, service: Served, depth: int) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.failed: Exception | None = None
        self.told = self.answered = 0
        self._service = service
        self._depth = depth

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                with self._service.client() as client:
                    self._use(client)
        except (OSError, ValueError) as error:
            self.failed = error

    def _use(self, client: Client) -> None:
        outstanding = 0
        for _ in itertools.count():
            while outstanding < self._depth and not self.stop.is_set():
                client.send(GET.format("hello"))
                outstanding += 1
            if not outstanding:
                return
            answer = client.read()
            assert answer.text == "hello"
            outstanding -= 1
            self.answered += 1
            if answer.closes:
                self.told += 1
                return


@pytest.mark.parametrize("app", ["contrary_asgi", "contrary_wsgi"])
@pytest.mark.parametrize("depth", [1, 2, 20])
def test_a_client_with_several_requests_outstanding_moves_or_is_told(
    tmp_path: Path, app: str, depth: int
) -> None:
    options = ("--workers=2", "--probation=100ms", "--linger=1s", "--drain-timeout=10s")
    with served(tmp_path, app, *options) as service:
        clients = [Pipelining(service, depth) for _ in range(3)]
        for client in clients:
            client.start()
        for _ in range(3):
            service.manager.signal(signal.SIGHUP)
            service.manager.wait_for("RELOADING", "1")
            service.manager.wait_ready()
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()

        assert [client.failed for client in clients] == 3 * [None]
        assert all(client.answered for client in clients)
        assert get(service.address, "/hello").text == "hello"
    assert "aborted" not in service.manager.stderr()
