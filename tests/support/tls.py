"""The gate app behind a certificate."""

from __future__ import annotations

import signal
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority, Pair
from tests.support.http_client import Client
from tests.support.service import Service

TELLING = """
import json
async def app(scope, receive, send):
    text = json.dumps({"scheme": scope["scheme"], "tls": scope["extensions"].get("tls")})
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
    else:
        length = str(len(text)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": text.encode()})
"""
"""An app that answers with what it was told of the connection."""


class TlsClient(Client):
    """A connection over TLS; the end of the stream must be announced, or it is an error."""

    def __init__(self, address: Any, context: ssl.SSLContext) -> None:
        super().__init__(address)
        self._file.close()
        self.sock: ssl.SSLSocket = context.wrap_socket(
            self.sock, server_hostname="localhost", suppress_ragged_eofs=False
        )
        self._file = self.sock.makefile("rb")


@dataclass
class TlsService:
    """The gate app behind a certificate, `tls.crt` and `tls.key` in its directory."""

    service: Service
    authority: Authority
    certificate: Path
    key: Path

    def install(self, name: str, *, expired: bool = False) -> Pair:
        """Put a new pair where the service reads it."""
        pair = self.authority.issue(name, expired=expired)
        pair.install(self.certificate, self.key)
        return pair

    def options(self) -> list[str]:
        return [f"--tls-certificate={self.certificate}", f"--tls-key={self.key}"]

    def start(self, *options: str) -> int:
        return self.service.start(*self.options(), *options)

    def client(self, pair: Pair | None = None) -> TlsClient:
        """Open a connection."""
        client = TlsClient(self.address, self.authority.client(pair))
        self.service.clients.append(client)
        return client

    def accepted(self) -> Client:
        """Open a connection that the service has accepted, and on which nothing was sent."""
        client = self.service.client()
        self.client().get()  # the queue is served in order
        return client

    @property
    def address(self) -> tuple[str, int]:
        assert self.service.listener.sock is not None
        host, port = self.service.listener.sock.getsockname()
        return host, port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.address[1]}/"

    def presented(self) -> bytes:
        """Return the certificate that a new connection gets."""
        with TlsClient(self.address, self.authority.client()) as client:
            return client.sock.getpeercert(binary_form=True) or b""

    def tell(self) -> None:
        """Serve the app that tells what it was told."""
        (self.service.directory / "app.py").write_text(TELLING)

    def stop(self) -> None:
        self.service.manager.signal(signal.SIGTERM)
        self.service.manager.wait_for("STOPPING", "1")
