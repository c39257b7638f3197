"""TLS on real systemd, as units/app-tls.conf has it: certificates that are renewed, or refused."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path

import pytest

from sockact.probe.background import BackgroundProbe
from tests.support.certificates import Authority, Pair
from tests.support.kinds import ALL_KINDS
from tests.support.machine.load import MANY_FILES, assert_nothing_lost
from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT, NEWEST
from tests.support.machine.service import main_pid, processes, reload, wait_for, wait_until

DROP_IN = (CHECKOUT / "units" / "app-tls.conf").read_text()
URL = "https://127.0.0.1:8000"
LOAD_APP = CHECKOUT / "tests" / "apps" / "load_app.py"

ASK = """
import socket, ssl, sys
context = ssl.create_default_context(cadata=sys.argv[1])
with socket.create_connection(("127.0.0.1", 8000), 30) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        print(ssl.DER_cert_to_PEM_cert(sock.getpeercert(True)))
"""


class Service:
    """The load app behind a certificate."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.authority = Authority(directory)

    def configure(self, drop_in: str) -> None:
        """Use one of the ways that the drop-in has."""
        self.machine.write("/etc/systemd/system/app.service.d/tls.conf", drop_in)
        self.machine.run("systemctl", "daemon-reload")
        said = self.machine.run("systemd-analyze", "verify", "/etc/systemd/system/app.service", check=False)
        assert "app.service" not in said.stderr

    def install(self, name: str) -> Pair:
        """Put a new pair where only root can read it."""
        pair = self.authority.issue(name)
        self._write(pair.certificate, pair.key)
        return pair

    def spoil(self) -> None:
        """Put a new certificate with the key of another one there."""
        self._write(self.authority.issue("lonely").certificate, self.authority.issue("other").key)

    def presented(self) -> bytes:
        """Return the certificate that a new client sees and trusts; it has got an answer, too."""
        authority = self.authority.certificate.read_text()
        return ssl.PEM_cert_to_DER_cert(self.machine.run("python3", "-c", ASK, authority).stdout)

    def load(self) -> BackgroundProbe:
        return BackgroundProbe(URL, ALL_KINDS, self.machine.network(*MANY_FILES))

    def _write(self, certificate: Path, key: Path) -> None:
        self.machine.write("/etc/app/tls.crt", certificate.read_text(), 0o600)
        self.machine.write("/etc/app/tls.key", key.read_text(), 0o600)


@pytest.fixture
def service(app: Machine, tmp_path: Path) -> Service:
    """Give a machine on which the socket of the load app is active, and a pair of files is in place."""
    service = Service(app, tmp_path)
    app.write("/opt/app/app.py", LOAD_APP.read_text())
    service.install("first")
    app.run("systemctl", "start", "app.socket")
    return service


def by_credentials(*, refreshed: bool = False) -> str:
    """Return a drop-in of what the shipped one has in its last comment; to refresh it takes systemd 260."""
    lines = DROP_IN.partition("# systemd 260 and later")[2].splitlines()
    chosen = [line.removeprefix("#") for line in lines if re.match(r"#\w+=", line)]
    assert "RefreshOnReload=credentials" in chosen
    known = [line for line in chosen if refreshed or not line.startswith("RefreshOnReload=")]
    return "\n".join(["[Service]", *known])


@pytest.mark.newest
@pytest.mark.parametrize("suite", [NEWEST], indirect=True)  # systemd 260 or later
def test_a_certificate_that_systemd_loads_anew_is_renewed_by_reloads_that_lose_nobody(
    service: Service,
) -> None:
    service.configure(by_credentials(refreshed=True))
    with service.load() as clients:
        pid = main_pid(service.machine)
        for number in range(3):
            pair = service.install(f"pair-{number}")
            assert service.presented() != pair.der
            reload(service.machine)
            wait_until(lambda pair=pair: service.presented() == pair.der)  # type: ignore[misc]
        report = clients.report()

    assert_nothing_lost(report)
    assert main_pid(service.machine) == pid


@pytest.mark.parametrize("suite", [NEWEST], indirect=True)
def test_a_broken_pair_that_systemd_loads_anew_is_refused_also_by_later_workers(service: Service) -> None:
    """The old pair is gone with the reload that fails, which units/app-tls.conf warns of."""
    service.configure(by_credentials(refreshed=True))
    before = service.presented()
    pid = main_pid(service.machine)
    service.spoil()

    assert reload(service.machine, check=False).returncode != 0
    assert service.presented() == before
    began = time.time()
    service.machine.run("kill", "-KILL", *map(str, processes(service.machine) - {pid}))
    reason = "this key does not belong to"
    wait_until(lambda: reason in service.machine.journal("app.service", since=began))
    pair = service.install("repaired")
    reload(service.machine)
    wait_until(lambda: service.presented() == pair.der)
    assert main_pid(service.machine) == pid


def test_a_certificate_that_systemd_has_loaded_is_renewed_by_restarts_that_lose_nobody(
    service: Service,
) -> None:
    service.configure(by_credentials())
    with service.load() as clients:
        for number in range(3):
            pair = service.install(f"pair-{number}")
            assert service.presented() != pair.der
            service.machine.run("systemctl", "restart", "app.service")
            assert service.presented() == pair.der
        report = clients.report()

    assert_nothing_lost(report)
    assert service.machine.show("app.service", "NRestarts", "Result") == {
        "NRestarts": "0",
        "Result": "success",
    }


def test_a_broken_pair_is_tried_by_a_start_until_it_is_repaired(service: Service) -> None:
    service.configure(DROP_IN)
    service.presented()
    service.spoil()
    service.machine.run("systemctl", "restart", "app.service", check=False)
    shown = service.machine.show("app.service", "StatusText")
    journal = service.machine.journal("app.service")
    reason = "tls_certificate=/run/app.tls/tls.pem: this key does not belong to tls_certificate="
    assert reason in journal
    assert reason in shown["StatusText"]

    pair = service.install("repaired")

    wait_for(service.machine, "ActiveState=active")
    assert service.presented() == pair.der


def test_a_certificate_is_renewed_by_reloads_that_lose_nobody(service: Service) -> None:
    service.configure(DROP_IN)
    with service.load() as clients:
        pid = main_pid(service.machine)
        for number in range(3):
            pair = service.install(f"pair-{number}")
            reload(service.machine)
            wait_until(lambda pair=pair: service.presented() == pair.der)  # type: ignore[misc]
        report = clients.report()

    assert_nothing_lost(report)
    assert main_pid(service.machine) == pid
    assert report["total"]["idle_resets"] == 0


def test_a_broken_pair_is_refused_by_a_reload_and_the_old_one_goes_on(service: Service) -> None:
    service.configure(DROP_IN)
    before = service.presented()
    pid = main_pid(service.machine)
    service.spoil()

    refused = reload(service.machine, check=False)

    assert refused.returncode != 0
    reason = "/etc/app/tls.key: this key does not belong to /etc/app/tls.crt: the old pair stays"
    assert reason in service.machine.journal("app.service")
    assert main_pid(service.machine) == pid
    assert service.presented() == before
