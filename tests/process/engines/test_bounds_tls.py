"""The bounds for clients hold over TLS too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bounds import BRIEF, UPLOAD, wait_reset
from tests.support.certificates import Authority
from tests.support.service import Service
from tests.support.tls import TlsService


@pytest.fixture
def tls(bounded: Service, tmp_path: Path) -> TlsService:
    """Give the app for clients without bounds with a certificate, not yet started."""
    tls = TlsService(bounded, Authority(tmp_path), tmp_path / "tls.crt", tmp_path / "tls.key")
    tls.install("first")
    return tls


@pytest.mark.parametrize("begun", ["GET / HTTP/1.1\r\nHost: te", UPLOAD])
def test_half_a_request_is_answered_408(tls: TlsService, begun: str) -> None:
    tls.start(f"--header-timeout={BRIEF}", f"--body-timeout={BRIEF}")
    client = tls.client()

    client.send(begun)

    assert client.read().status == 408
    assert client.at_eof()


def test_a_body_that_is_too_large_is_answered_413(tls: TlsService) -> None:
    tls.start("--max-body-bytes=9")
    client = tls.client()

    client.send(UPLOAD + "x" * 10)

    assert client.read().status == 413
    assert client.at_eof()


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"], ids=["", "closing"])
@pytest.mark.parametrize("path", ["/endless", "/early"])
def test_a_client_that_does_not_read_is_reset(tls: TlsService, path: str, last: str) -> None:
    tls.start(f"--write-timeout={BRIEF}", f"--keep-alive={BRIEF}")
    client = tls.client()

    client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n{last}\r\n")

    wait_reset(client)
