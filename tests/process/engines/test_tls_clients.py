"""Clients over TLS that go, that do not read, and that send more than is read."""

from __future__ import annotations

import contextlib
import itertools
import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.manager import open_sockets, resident, wait_until
from tests.support.served import Served, reset, served
from tests.support.tls import TlsClient

TOO_MUCH = 24 << 20
"""Bytes that a connection costs only if nothing bounds it."""

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"

counter = itertools.count()


class Encrypted:
    """A service behind a certificate."""

    def __init__(self, service: Served, context: ssl.SSLContext) -> None:
        self.service = service
        self._context = context

    def client(self) -> TlsClient:
        return TlsClient(self.service.address, self._context)

    def noted(self, key: str) -> object:
        with self.client() as client:
            return client.get(f"/noted?{key}").json

    def wait_noted(self, key: str) -> None:
        wait_until(lambda: self.noted(key))


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def tls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    (folder / "file").write_bytes(300_000 * b"f")
    authority = Authority(folder)
    pair = authority.issue("server")
    options = (
        f"--loop={request.param}",
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
        "--ready-path=/ready",
        "--linger=500ms",
    )
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with served(folder, "contrary_asgi", *options) as service:
        yield Encrypted(service, context)


@pytest.fixture
def key() -> str:
    """Give a word that no other test uses."""
    return f"k{next(counter)}"


@pytest.mark.parametrize(
    ("path", "size"), [("hello", 5), ("parts", 6), ("large", 8 << 20), ("path-send", 300_000)]
)
def test_responses_are_whole(tls: Encrypted, path: str, size: int) -> None:
    with tls.client() as client:
        for _ in range(3):
            assert len(client.get(f"/{path}").body) == size


@pytest.mark.parametrize("path", ["raises", "text-body", "too-long-in-parts"])
def test_a_failure_is_a_500(tls: Encrypted, path: str) -> None:
    with tls.client() as client:
        assert client.get(f"/{path}").status == 500
        assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("path", ["raises-late", "too-long-late"])
def test_a_failure_amid_the_response_can_be_told(tls: Encrypted, path: str) -> None:
    with tls.client() as client:
        client.ask(f"/{path}")
        with pytest.raises((OSError, ValueError)):
            client.read()


def close(client: TlsClient) -> None:
    """Announce the end, and close."""
    with contextlib.suppress(OSError):
        client.sock.settimeout(0)
        client.sock.unwrap()
    client.close()


BEHIND = {
    "nothing": b"",
    "a request": GET % b"hello",
    "many requests": 4000 * (GET % b"hello"),
    "a part": b"GET /hel",
    "a bad line": b"\0\r\n\r\n",
}


@pytest.mark.parametrize("ending", [close, TlsClient.close, reset], ids=["announced", "close", "reset"])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("path", ["listens", "streams"])
def test_the_app_is_told(
    tls: Encrypted, path: str, behind: str, ending: Callable[[TlsClient], None], key: str
) -> None:
    with tls.client() as client:
        client.ask(f"/{path}?{key}")
        tls.wait_noted(f"begun-{key}")
        client.send(BEHIND[behind])
        ending(client)

        tls.wait_noted(f"gone-{key}")


@pytest.mark.parametrize("path", ["ready", "hello", "listens"])
def test_a_client_that_never_reads_costs_little_memory(tls: Encrypted, path: str) -> None:
    with tls.client() as client:
        assert client.get("/hello").status == 200
    before = resident(tls.service.pid)
    with tls.client() as client:
        client.sock.settimeout(0.5)
        data = 20_000 * (GET % path.encode())
        with contextlib.suppress(OSError):
            for _ in range(20):
                client.send(data)
                assert resident(tls.service.pid) - before < TOO_MUCH
        assert resident(tls.service.pid) - before < TOO_MUCH
        client.sock.settimeout(None)
        reset(client)


def test_nothing_is_left(tls: Encrypted) -> None:
    wait_until(lambda: open_sockets(tls.service.pid) <= tls.service.sockets)
