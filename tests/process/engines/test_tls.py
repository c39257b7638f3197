"""TLS: who is served by it, and what a drain and a new certificate mean for those who are."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from sockact.probe.background import BackgroundProbe
from sockact.sockets.fds import Listener
from tests.support.certificates import Authority, Pair, encrypt
from tests.support.commands import reload
from tests.support.http_client import Client, exchange, get
from tests.support.kinds import ALL_KINDS
from tests.support.manager import CHECKOUT, LIMIT, listening, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import Service
from tests.support.tls import TELLING, TlsClient, TlsService

QUICK = ("--workers=2", "--probation=0.1s")


class Handshake:
    """A client whose handshake is made step by step."""

    def __init__(self, client: Client, context: ssl.SSLContext) -> None:
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._hello = self._outgoing.read()

    def begin(self) -> None:
        """Send half of the first message."""
        self._client.send(self._hello[:50])

    def end(self) -> None:
        """Send the rest, and do what is to be done."""
        self._client.send(self._hello[50:])
        self._whatever(self._tls.do_handshake)
        self._client.send(self._outgoing.read())

    def ask(self) -> bytes:
        """Send a request, and return all that comes until the server says that this is all."""
        self._tls.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self._client.send(self._outgoing.read())
        return b"".join(iter(lambda: self._whatever(lambda: self._tls.read(65536)), b""))

    def _whatever(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._client.send(self._outgoing.read())
                data = self._client.sock.recv(65536)
                assert data, "the connection was closed"
                self._incoming.write(data)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(service: Service, authority: Authority, tmp_path: Path) -> TlsService:
    """Give the gate app with a certificate, not yet started."""
    tls = TlsService(service, authority, tmp_path / "tls.crt", tmp_path / "tls.key")
    tls.install("first")
    return tls


@pytest.fixture
def http() -> Iterator[Listener]:
    """Give a second listener, whose name says that it is plain."""
    listener = listening(name="http")
    yield listener
    listener.close()


# Who is served.


def test_an_app_is_served_over_tls(tls: TlsService) -> None:
    tls.start()
    client = tls.client()

    answer = client.get()

    assert (answer.status, answer.json["scheme"]) == (200, "https")
    assert client.sock.version() == "TLSv1.3"
    assert client.sock.selected_alpn_protocol() == "http/1.1"


def test_the_oldest_version_is_1_2(tls: TlsService) -> None:
    tls.start()
    old = tls.authority.client()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # in which OpenSSL still knows the ones before
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsClient(tls.address, old) as client:
        assert client.get().status == 200
        assert client.sock.version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        TlsClient(tls.address, old)


def test_curl_is_served(tls: TlsService) -> None:
    tls.start()
    trusted = ("--cacert", str(tls.authority.certificate))

    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", *trusted, tls.url],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )

    assert '"scheme": "https"' in done.stdout


def test_openssl_is_served_and_hears_a_close_notify(tls: TlsService) -> None:
    tls.start("--keep-alive=0.1s")
    where = f"127.0.0.1:{tls.address[1]}"
    trusted = ("-CAfile", str(tls.authority.certificate), "-verify_return_error")

    done = subprocess.run(
        ["openssl", "s_client", "-connect", where, *trusted, "-alpn", "http/1.1", "-trace", "-ign_eof"],
        input="GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )

    assert "HTTP/1.1 200 OK" in done.stdout
    assert "ALPN protocol: http/1.1" in done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout
    received = done.stdout[done.stdout.rindex("Received") :]
    assert "close notify" in received


def test_the_app_is_told_of_the_connection(tls: TlsService) -> None:
    tls.tell()
    tls.start()

    told = tls.client().get().json

    assert told["scheme"] == "https"
    assert told["tls"]["tls_version"] == 0x0304
    assert told["tls"]["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert told["tls"]["client_cert_chain"] == []
    assert told["tls"]["client_cert_name"] is None


def test_a_websocket_is_told_of_the_connection(tls: TlsService) -> None:
    tls.tell()
    tls.start()

    with connect(tls.url.replace("https", "wss"), ssl=tls.authority.client()) as websocket:
        told = str(websocket.recv(LIMIT))

    assert '"scheme": "wss"' in told
    assert '"tls_version": 772' in told


def test_a_client_with_a_certificate_is_served_and_known(tls: TlsService) -> None:
    tls.tell()
    pair = tls.authority.issue("web 1", organization="Example, Inc.")
    tls.start(f"--tls-client-ca={tls.authority.certificate}")

    told = tls.client(pair).get().json["tls"]

    assert told["client_cert_name"] == "CN=web 1,OU=tests,O=Example\\, Inc."
    (chain,) = told["client_cert_chain"]
    assert ssl.PEM_cert_to_DER_cert(chain) == pair.der


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("has", ["none", "one of another authority"])
def test_a_client_without_a_certificate_of_the_authority_is_not_served(
    tls: TlsService, has: str, version: ssl.TLSVersion
) -> None:
    tls.start(f"--tls-client-ca={tls.authority.certificate}", "--access-log")
    context = tls.authority.client()
    context.maximum_version = version
    if has != "none":
        stranger = Authority(tls.service.directory, "stranger").issue("strange")
        context.load_cert_chain(stranger.certificate, stranger.key)

    # In TLS 1.3 a client has done its part before the server has seen its certificate.
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):  # noqa: SIM117
        with TlsClient(tls.address, context) as client:
            client.get("/secret")

    tls.client(tls.authority.issue("client")).get("/open")
    wait_until(lambda: "/open" in tls.service.manager.stderr())
    assert "/secret" not in tls.service.manager.stderr()


def test_listeners_named_http_and_health_are_plain(tls: TlsService, http: Listener) -> None:
    health = listening(name="health")
    start_with(tls, [tls.service.listener, http, health])

    ready = get(health).text
    health.close()

    assert ready == "ready\n"
    assert '"scheme": "http"' in get(http).text
    assert tls.client().get().json["scheme"] == "https"


def test_other_listeners_can_be_the_plain_ones(tls: TlsService, http: Listener) -> None:
    start_with(tls, [tls.service.listener, http], "--plain-listeners=web")

    assert '"scheme": "http"' in get(tls.service.listener).text
    with TlsClient(http.sock.getsockname(), tls.authority.client()) as client:  # type: ignore[union-attr]
        assert client.get().json["scheme"] == "https"


def test_listeners_named_http_can_redirect(tls: TlsService, http: Listener) -> None:
    start_with(tls, [tls.service.listener, http], "--redirect-http=443")

    answer = get(http, "/a%20b?c=d", method="POST", body=b"x", headers={"Host": "example.org:8080"})

    assert (answer.status, answer.headers["location"]) == (308, "https://example.org/a%20b?c=d")


def test_a_redirect_leads_to_the_port_and_curl_follows(tls: TlsService, http: Listener) -> None:
    start_with(tls, [tls.service.listener, http], f"--redirect-http={tls.address[1]}")
    assert http.sock is not None
    port = http.sock.getsockname()[1]
    trusted = ("--cacert", str(tls.authority.certificate))

    done = subprocess.run(
        ["curl", "--silent", "--fail", "--location", *trusted, f"http://127.0.0.1:{port}/here"],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )

    assert '"scheme": "https"' in done.stdout
    assert '"path": "/here"' in done.stdout


def test_a_client_of_a_redirecting_listener_is_told_of_the_end_in_a_drain(
    tls: TlsService, http: Listener
) -> None:
    start_with(tls, [tls.service.listener, http], "--redirect-http=443", "--linger=10s")
    assert http.sock is not None
    with Client(http.sock.getsockname()) as client:
        assert (answer := client.get("/")).status == 308
        assert not answer.closes
        tls.stop()

        wait_until(lambda: client.get("/").closes)  # the drain begins a moment after STOPPING=1
    assert tls.service.manager.wait_exit() == 0


def test_a_connection_to_a_redirecting_listener_does_not_move_to_where_it_would_be_the_apps(
    tls: TlsService, http: Listener
) -> None:
    pid = start_with(tls, [tls.service.listener, http], "--redirect-http=443", "--linger=0.1s", *QUICK)
    old = workers(pid)
    assert http.sock is not None
    with Client(http.sock.getsockname()) as kept, Client(http.sock.getsockname()) as fresh:
        assert kept.get().status == 308

        assert reload(tls.service)[0] == 0

        assert kept.at_eof()
        assert fresh.at_eof()
    for worker in old:
        wait_gone(worker)


def start_with(tls: TlsService, listeners: list[Listener], *options: str) -> int:
    service = tls.service
    shutil.copy(CHECKOUT / "tests" / "apps" / "gate_app.py", service.directory / "app.py")
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    pid = service.manager.sockact("app:app", *tls.options(), *options, listeners=listeners, **environ)
    service.manager.wait_ready()
    return pid


def test_a_unix_socket_speaks_tls_too(tls: TlsService, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)
        sock.listen()
        start_with(tls, [Listener.of(sock, "web")], "--linger=0.1s")
        with TlsClient(path, tls.authority.client()) as client:
            assert client.get().json["scheme"] == "https"
            tls.stop()
            assert client.at_eof()
    assert tls.service.manager.wait_exit() == 0


def test_credentials_are_found_by_their_names(
    service: Service, authority: Authority, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    pair = authority.issue("pair")
    pair.install(credentials / "tls.crt", credentials / "tls.key")
    tls = TlsService(service, authority, Path("tls.crt"), Path("tls.key"))

    service.start(*tls.options(), CREDENTIALS_DIRECTORY=str(credentials))

    assert tls.presented() == pair.der


def test_one_file_may_hold_certificate_and_key(tls: TlsService) -> None:
    both = tls.service.directory / "both.pem"
    both.write_text(tls.certificate.read_text() + tls.key.read_text())

    tls.service.start(f"--tls-certificate={both}")

    assert tls.client().get().status == 200


def test_the_supervisor_does_not_load_openssl(tls: TlsService) -> None:
    pid = tls.start(*QUICK)
    assert tls.client().get().status == 200

    for process, has in [(pid, False), *((worker, True) for worker in workers(pid))]:
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert ("libssl" in mapped, "_ssl." in mapped) == (has, has)


# What cannot serve is refused.


def no_certificate(tls: TlsService) -> None:
    tls.certificate.unlink()


def no_key(tls: TlsService) -> None:
    tls.key.unlink()


def other_key(tls: TlsService) -> None:
    shutil.copy(tls.authority.issue("other").key, tls.key)


def garbage(tls: TlsService) -> None:
    tls.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def key_for_certificate(tls: TlsService) -> None:
    shutil.copy(tls.key, tls.certificate)


def passphrase(tls: TlsService) -> None:
    encrypt(Pair(tls.certificate, tls.key), "secret")


def directory(tls: TlsService) -> None:
    tls.key.unlink()
    tls.key.mkdir()


BROKEN = [
    (no_certificate, "tls_certificate={tls.certificate}: No such file or directory"),
    (no_key, "tls_key={tls.key}: No such file or directory"),
    (directory, "tls_key={tls.key}: Is a directory"),
    (other_key, "tls_key={tls.key}: this key does not belong to tls_certificate={tls.certificate}"),
    (garbage, "tls_certificate={tls.certificate}, tls_key={tls.key}: "),
    (
        key_for_certificate,
        r"tls_certificate={tls.certificate}: expected a PEM file with a line that ends in",
    ),
    (passphrase, "tls_key={tls.key}: encrypted with a passphrase; expected a key without one"),
]


SOME = [broken for broken in BROKEN if broken[0] in (no_key, other_key)]


@pytest.mark.parametrize(
    ("spoil", "reason", "workers"),
    [*((*broken, 0) for broken in BROKEN), *((*broken, 1) for broken in SOME)],
)
def test_a_start_without_a_usable_pair_fails_and_says_why(
    tls: TlsService, spoil: Callable[[TlsService], None], reason: str, workers: int
) -> None:
    spoil(tls)
    reason = reason.format(tls=tls)
    manager = tls.service.manager
    (tls.service.directory / "app.py").write_text("raise RuntimeError('not reached')")
    options = [*tls.options(), "--control=none", f"--workers={workers}"]
    manager.sockact("app:app", *options, listeners=[tls.service.listener])

    manager.wait_for("STATUS", reason)
    assert manager.wait_exit() == 78
    assert reason in manager.stderr()


@pytest.mark.parametrize(("spoil", "reason"), SOME)
@pytest.mark.parametrize("options", [(), QUICK], ids=["alone", "supervised"])
def test_a_reload_without_a_usable_pair_is_refused_and_the_old_one_goes_on(
    tls: TlsService, spoil: Callable[[TlsService], None], reason: str, options: tuple[str, ...]
) -> None:
    tls.start(*options)
    before = tls.presented()
    client = tls.client()
    client.get()
    spoil(tls)
    reason = reason.format(tls=tls)

    status, text = reload(tls.service)

    assert status == 1
    assert reason in text
    tls.service.manager.wait_for("STATUS", f"reload failed: {reason}")
    assert not client.get().closes
    assert tls.presented() == before


def test_a_refused_pair_can_be_repaired(tls: TlsService) -> None:
    tls.start(*QUICK)
    other_key(tls)
    assert reload(tls.service)[0] == 1
    pair = tls.install("second")

    assert reload(tls.service)[0] == 0

    wait_until(lambda: tls.presented() == pair.der)


def test_an_expired_certificate_is_served_with_a_warning(tls: TlsService) -> None:
    tls.install("expired", expired=True)

    tls.start()

    stderr = tls.service.manager.stderr()
    assert f"WARNING: tls_certificate={tls.certificate}: certificate has expired" in stderr


def test_a_certificate_without_complaints_is_served_without_a_warning(tls: TlsService) -> None:
    tls.start(f"--tls-client-ca={tls.authority.certificate}")

    assert "WARNING" not in tls.service.manager.stderr()


def test_a_certificate_that_no_listener_would_use_is_refused(tls: TlsService, http: Listener) -> None:
    manager = tls.service.manager
    tls.tell()
    manager.sockact("app:app", *tls.options(), "--control=none", listeners=[http])

    manager.wait_for("STATUS", "tls_certificate is set, but no listener speaks TLS: found http=127.0.0.1:")
    assert manager.wait_exit() == 78


def test_raw_connections_must_be_called_plain(tls: TlsService, http: Listener) -> None:
    raw = "async def app(reader, writer): writer.write(await reader.readline())"
    (tls.service.directory / "app.py").write_text(raw)
    manager = tls.service.manager

    manager.sockact("app:app", *tls.options(), "--control=none", listeners=[tls.service.listener])

    manager.wait_for("STATUS", "tls_certificate is set, but web=127.0.0.1:")
    assert manager.wait_exit() == 78


def test_raw_connections_that_are_called_plain_are_served_beside_tls(
    tls: TlsService, http: Listener
) -> None:
    (tls.service.directory / "main.py").write_text(
        f"import sockact\n{TELLING}\n"
        "async def raw(reader, writer): writer.write(await reader.readline())\n"
        "sockact.serve({'web': app, 'http': raw}, control='none')\n"
    )
    listeners = [tls.service.listener, http]
    command = [sys.executable, "main.py"]
    files = {"SOCKACT_TLS_CERTIFICATE": str(tls.certificate), "SOCKACT_TLS_KEY": str(tls.key)}

    tls.service.manager.start(command, listeners, PYTHONPATH=str(CHECKOUT), **files)
    tls.service.manager.wait_ready()

    assert exchange(http, b"hello\n") == b"hello\n"
    assert tls.client().get().json["scheme"] == "https"


# Drains, and new certificates.


@pytest.mark.parametrize("options", [(), QUICK], ids=["alone", "supervised"])
def test_a_reload_brings_the_new_certificate(tls: TlsService, options: tuple[str, ...]) -> None:
    tls.start(*options)
    pair = tls.install("second")
    assert tls.presented() != pair.der

    assert reload(tls.service)[0] == 0

    wait_until(lambda: tls.presented() == pair.der)


def test_a_request_under_way_completes_on_the_connection_with_the_old_certificate(tls: TlsService) -> None:
    tls.start(*QUICK)
    client = tls.client()
    client.ask("/hold")
    held = tls.service.gate.wait()
    pair = tls.install("second")
    assert reload(tls.service)[0] == 0
    wait_until(lambda: tls.presented() == pair.der)

    held.release()
    answer = client.read()

    assert (answer.status, answer.closes) == (200, True)
    assert client.at_eof()  # with a close_notify, or this raises
    assert client.sock.getpeercert(binary_form=True) != pair.der


ROUNDS = 3


def load(tls: TlsService) -> BackgroundProbe:
    return BackgroundProbe(tls.url, ALL_KINDS)


@pytest.mark.slow
def test_nobody_is_lost_over_reloads_with_new_certificates(tls: TlsService) -> None:
    shutil.copy(CHECKOUT / "tests" / "apps" / "load_app.py", tls.service.directory / "app.py")
    pid = tls.start(*QUICK)
    with load(tls) as clients:
        for number in range(ROUNDS):
            old = workers(pid)
            pair = tls.install(f"pair-{number}")
            assert reload(tls.service)[0] == 0
            wait_until(lambda pair=pair: tls.presented() == pair.der)  # type: ignore[misc]
            for worker in old:
                wait_gone(worker)
        report = clients.report()

    assert report["lost"] == 0, report["failures"]
    for name, each in report["loads"].items():
        assert each["requests"] > 0, name
    # Nobody was cut off: each connection was closed with a close_notify, or after a `Connection: close`.
    assert report["total"]["idle_resets"] == 0
    assert report["loads"]["persistent:4@10"]["reconnects"] >= ROUNDS
    assert report["loads"]["websocket:2@5"]["restarts"] >= 2


def test_the_same_load_sees_a_worker_that_is_killed(tls: TlsService) -> None:
    shutil.copy(CHECKOUT / "tests" / "apps" / "load_app.py", tls.service.directory / "app.py")
    pid = tls.start(*QUICK)
    with load(tls) as clients:
        for worker in workers(pid):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(workers(pid)) == 2)
        report = clients.report()

    assert report["lost"] > 0


def test_a_handshake_under_way_when_the_drain_begins_is_served(tls: TlsService) -> None:
    tls.start("--linger=0.1s")
    silent = tls.service.client()
    other = tls.client()
    other.get()  # the queue is served in order
    handshake = Handshake(silent, tls.authority.client())
    handshake.begin()
    other.get()
    tls.stop()
    assert other.at_eof()  # nothing else is left to drain
    other.close()
    # Another process lives and dies meanwhile: time in which a drain that did not wait would be over.
    subprocess.run([sys.executable, "-m", "sockact", "--version"], check=True, capture_output=True)

    handshake.end()
    response = handshake.ask()

    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in response
    assert tls.service.manager.wait_exit() == 0


def test_a_handshake_under_way_when_a_reload_begins_is_served_by_the_old_worker(tls: TlsService) -> None:
    pid = tls.start("--workers=1", "--probation=0.1s")
    (old,) = workers(pid)
    handshake = Handshake(tls.accepted(), tls.authority.client())
    handshake.begin()
    tls.client().get()
    pair = tls.install("second")
    assert reload(tls.service)[0] == 0
    wait_until(lambda: tls.presented() == pair.der)

    handshake.end()

    assert f'"pid": {old}'.encode() in handshake.ask()


def test_a_handshake_has_a_limit(tls: TlsService) -> None:
    tls.start("--tls-handshake-timeout=0.2s")
    silent, slow = tls.accepted(), tls.accepted()
    Handshake(slow, tls.authority.client()).begin()

    assert silent.at_eof()
    assert slow.at_eof()


def test_a_handshake_has_its_limit_in_a_drain_too(tls: TlsService) -> None:
    tls.start("--tls-handshake-timeout=0.5s", "--drain-timeout=none")
    silent = tls.accepted()
    tls.stop()

    assert silent.at_eof()
    assert tls.service.manager.wait_exit() == 0


def test_the_drain_timeout_ends_a_handshake(tls: TlsService) -> None:
    limits = ("--tls-handshake-timeout=1h", "--linger=0.1s", "--drain-timeout=0.3s")
    tls.service.start(*tls.options(), *limits, "--shutdown-timeout=1h", GATE_SHUTDOWN="1")
    silent = tls.accepted()
    tls.stop()
    held = tls.service.gate.wait()  # the drain is over, and the app shuts down

    assert silent.at_eof()
    held.release()
    assert tls.service.manager.wait_exit() == 0
    assert "aborted: a connection in its TLS handshake" in tls.service.manager.stderr()


def test_an_idle_connection_is_closed_with_a_close_notify(tls: TlsService) -> None:
    tls.start("--linger=0.1s")
    used, fresh = tls.client(), tls.client()
    used.get()
    tls.stop()

    assert used.at_eof()
    assert fresh.at_eof()
    assert tls.service.manager.wait_exit() == 0


def test_a_client_that_does_not_answer_the_close_notify_does_not_hold_the_drain(tls: TlsService) -> None:
    tls.start("--linger=0.1s", "--drain-timeout=none")
    client = tls.client()
    client.get()
    tls.stop()

    assert tls.service.manager.wait_exit() == 0


SIZE = 8_000_000
BIG = f"""
async def app(scope, receive, send):
    headers = [(b"content-length", b"{SIZE}")]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": b"x" * {SIZE}}})
"""


def test_a_response_that_is_read_slowly_is_not_cut_off_by_the_close(tls: TlsService) -> None:
    (tls.service.directory / "app.py").write_text(BIG)
    tls.start("--linger=0.1s", "--drain-timeout=none")
    reader, idle = tls.client(), tls.client()
    reader.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert reader.sock.recv(1) == b"H"  # all of it was written, and the close has begun
    tls.stop()
    assert idle.at_eof()  # after more time than a client has for its close_notify

    received = len(b"H")
    while data := reader.sock.recv(65536):
        received += len(data)

    assert received > SIZE
    assert tls.service.manager.wait_exit() == 0


def test_settings_that_need_a_certificate_say_so(service: Service) -> None:
    service.manager.sockact("app:app", "--redirect-http=443", listeners=[service.listener])

    service.manager.wait_for("STATUS", "redirect_http=443: expected tls_certificate to be set too")
    assert service.manager.wait_exit() == 78


def test_the_proxy_protocol_comes_before_tls(tls: TlsService) -> None:
    tls.start("--proxy-protocol=web", "--trusted-proxies=127.0.0.1")
    with socket.create_connection(tls.address) as raw:
        raw.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        with tls.authority.client().wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"192.0.2.7" in answer
