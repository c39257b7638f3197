"""An app that serves only one host, or only https, gets warm all the same: `warmup_path` may be a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.config.settings import resolve
from sockact.errors import AppError, SettingsError
from sockact.sockets.fds import Listener
from tests.support.commands import check, reload
from tests.support.http_client import get
from tests.support.manager import Manager
from tests.support.service import Service

SHAPES = ["--workers=0", "--workers=1"]

DJANGO = """
from django.conf import settings
from django.core.{interface} import get_{interface}_application
from django.http import HttpResponse
from django.urls import path

MIDDLEWARE = ["security.SecurityMiddleware", "common.CommonMiddleware"]
seen = []

def health(request):
    seen.append(request.build_absolute_uri())
    return HttpResponse(" ".join(seen))

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["example.org"], SECRET_KEY="x", SECURE_SSL_REDIRECT=True,
    MIDDLEWARE=["django.middleware." + each for each in MIDDLEWARE],
)
urlpatterns = [path("health", health)]
app = get_{interface}_application()
"""

ECHO = """
seen = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    host = dict(scope["headers"])[b"host"].decode()
    seen.append(f"{scope['scheme']} {host} {scope['path']} {scope['query_string'].decode()}".strip())
    body = ", ".join(seen).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_django_app_of_one_host_gets_warm_with_that_host(
    manager: Manager, listener: Listener, interface: str, shape: str
) -> None:
    Path("app.py").write_text(DJANGO.format(interface=interface))
    manager.sockact("app:app", shape, "--warmup-path=https://example.org/health", listeners=[listener])
    manager.wait_ready()

    # The first page is the one that warmed it up; this client is none of https.
    answer = get(listener, "/health", headers={"Host": "example.org"})
    assert (answer.status, answer.headers["location"]) == (301, "https://example.org/health")
    assert "Invalid HTTP_HOST" not in manager.stderr()


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_django_app_of_one_host_says_why_it_does_not_get_warm_by_a_path_alone(
    manager: Manager, listener: Listener, interface: str
) -> None:
    Path("app.py").write_text(DJANGO.format(interface=interface))
    manager.sockact("app:app", "--warmup-path=/health", listeners=[listener])

    assert manager.wait_exit() == AppError.exit_status
    assert "warmup_path=/health: the app answered 400: expected 2xx or 3xx" in manager.stderr()


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("/health", "http localhost /health"),
        ("http://example.org/health?full", "http example.org /health full"),
        ("https://example.org:8443/health", "https example.org:8443 /health"),
        ("https://example.org", "https example.org /"),
        ("http://[::1]:8000/", "http [::1]:8000 /"),
        ("/health?next=http://example.com/x", "http localhost /health next=http://example.com/x"),
    ],
)
def test_the_app_sees_the_scheme_and_the_host_of_the_url(
    manager: Manager, listener: Listener, url: str, seen: str
) -> None:
    Path("app.py").write_text(ECHO)
    manager.sockact("app:app", f"--warmup-path={url}", listeners=[listener])
    manager.wait_ready()

    assert get(listener, "/").text == f"{seen}, http test /"


def test_a_reload_and_a_check_ask_with_it_too(service: Service, manager: Manager) -> None:
    Path("app.py").write_text(DJANGO.format(interface="asgi"))
    url = "--warmup-path=https://example.org/health"
    service.start("--workers=1", url, "--probation=0.1s")

    assert reload(service)[0] == 0
    assert check(service, "app:app", url)[0] == 0
    assert check(service, "app:app", "--warmup-path=https://example.com/health")[0] == 1


@pytest.mark.parametrize(
    "url",
    [
        "health",
        "example.org/health",
        "ftp://example.org/health",
        "http:///health",
        "http://a b/health",
        "http://user@example.org/health",
        "http://example.org/he alth",
        "http://example.org/\r\nX: y",
        "http://example.org\r\nX: y/",
        "http://ex\N{LATIN SMALL LETTER O WITH DIAERESIS}mple.org/",
        "http://example.org:port/",
        "//example.org/x\n",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^warmup_path=.*: expected a path like /-/ready"):
        resolve({"warmup_path": url}, {})
