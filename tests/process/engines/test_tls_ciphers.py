"""The ciphers and versions that a client needs to be served over TLS; asked with `openssl s_client`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sockact.errors import SettingsError
from sockact.sockets.fds import Listener
from tests.support.manager import LIMIT, Manager

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"served"})
"""
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}

WEAK = [
    "AES256-SHA256",  # RSA key exchange: who gets the key later reads it all
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "ECDHE-{key}-AES128-SHA",  # CBC
    "ECDHE-{key}-AES256-SHA384",
    "DHE-RSA-AES256-SHA256",
    "AECDH-AES128-SHA",  # no certificate
    "ECDHE-{key}-AES128-CCM8",
]
STRONG = ["ECDHE-{key}-AES128-GCM-SHA256", "ECDHE-{key}-AES256-GCM-SHA384", "ECDHE-{key}-CHACHA20-POLY1305"]


def issue(key: str) -> None:
    """Make a certificate that has a key of this kind."""
    command = ["openssl", "req", "-x509", "-newkey", *KEYS[key], "-noenc", "-days", "2", "-subj", "/CN=a"]
    files = ["-keyout", "tls.pem", "-out", "tls.pem"]
    subprocess.run([*command, *files], check=True, capture_output=True)


def start(manager: Manager, listener: Listener, key: str) -> None:
    """Serve with such a certificate."""
    Path("app.py").write_text(APP)
    issue(key)
    manager.sockact("app:app", "--tls-certificate=./tls.pem", listeners=[listener])
    manager.wait_ready()


def served(listener: Listener, *options: str) -> bool:
    """Tell whether a client with these options gets its response."""
    command = ["openssl", "s_client", "-connect", listener.address, "-quiet", *options]
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=LIMIT, check=False)
    return done.stdout.endswith(b"\r\n\r\nserved")


@pytest.mark.parametrize("key", KEYS)
def test_forward_secrecy_and_authenticated_encryption_are_all_that_is_spoken(
    manager: Manager, listener: Listener, key: str
) -> None:
    start(manager, listener, key)

    def by(cipher: str) -> bool:
        name = cipher.format(key=key.upper())
        # The client's own policy must not be what refuses.
        return served(listener, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")

    assert {cipher: by(cipher) for cipher in WEAK} == dict.fromkeys(WEAK, False)
    assert {cipher: by(cipher) for cipher in STRONG} == dict.fromkeys(STRONG, True)
    assert served(listener, "-tls1_3")
    assert served(listener)
    assert not served(listener, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "Traceback" not in manager.stderr()


@pytest.mark.parametrize("setting", ["tls_certificate", "tls_key", "tls_client_ca"])
def test_a_certificate_that_is_no_file_is_refused_at_once(
    manager: Manager, listener: Listener, setting: str
) -> None:
    Path("app.py").write_text(APP)
    issue("ecdsa")
    os.mkfifo("fifo.pem")
    files = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca"), "./tls.pem")
    files[setting] = "./fifo.pem"
    options = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()]

    manager.sockact("app:app", *options, listeners=[listener])

    assert manager.wait_exit() == SettingsError.exit_status
    assert f"{setting}=./fifo.pem: no regular file" in manager.stderr()
