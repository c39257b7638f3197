"""nginx before the service on a Unix socket: nothing is lost, and the app learns who the client is."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.machine.change import CHANGES, Change
from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.partners import PROXY_PORT, UnixNginx
from tests.support.machine.service import configure, tell

PATH = "/run/app.sock"
WHO = """
import json

async def app(scope, receive, send):
    if scope["type"] == "http":
        body = json.dumps([scope["client"] and scope["client"][0], scope["scheme"]]).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""


ASK = f"""
import urllib.request as u
request = u.Request("http://127.0.0.1:{PROXY_PORT}/", headers={{"X-Forwarded-For": "6.6.6.6"}})
print(u.urlopen(request).read().decode())
"""


@pytest.fixture
def proxy(app: Machine) -> UnixNginx:
    """Give nginx, not yet started, and a service whose socket is a path."""
    text = f"[Socket]\nListenStream=\nListenStream={PATH}\n"
    app.write("/etc/systemd/system/app.socket.d/test.conf", text)
    app.run("systemctl", "daemon-reload")
    return UnixNginx(app)


@pytest.mark.parametrize("change", [CHANGES[0], CHANGES[2]], ids=str)
def test_nothing_is_lost_behind_nginx(
    app: Machine, proxy: UnixNginx, change: Change, rounds: Callable[..., int]
) -> None:
    change.start(app)
    with proxy.running():
        with load(app, "persistent:8@50", "one-shot:4@20", port=PROXY_PORT) as clients:
            change.make(app, rounds(change.rounds))
            report = clients.report()
        complaints = proxy.complaints()

    assert_nothing_lost(report)
    assert complaints == []
    tell(f"{rounds(change.rounds)} times {change}, behind nginx on a Unix socket", app, report)


@pytest.mark.parametrize(
    ("proxies", "sandbox", "seen"),
    [
        ("unix", "PrivateUsers=yes", ["127.0.0.1", "https"]),
        ("uid=www-data", "PrivateUsers=yes", [None, "http"]),  # in whose namespace there is no such user
        ("uid=www-data", "PrivateUsers=no", ["127.0.0.1", "https"]),
        ("uid=games", "PrivateUsers=no", [None, "http"]),
    ],
)
def test_the_app_learns_who_asks_from_a_proxy_that_is_trusted(
    app: Machine, proxy: UnixNginx, proxies: str, sandbox: str, seen: list[str | None]
) -> None:
    app.write("/opt/app/app.py", WHO)
    configure(app, f"--trusted-proxies={proxies}", service=sandbox)
    app.run("systemctl", "start", "app.socket", "app.service")
    with proxy.running():
        said = app.run("python3", "-c", ASK).stdout

    assert json.loads(said) == seen
