"""The gate app with hooks that write down when they are called."""

from __future__ import annotations

from tests.support.gate import install
from tests.support.manager import wait_until
from tests.support.service import Service

NOTED = """
import signal, threading
import sockact
from sockact import hooks

def note(text):
    with open("noted", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")

inner = app

async def app(scope, receive, send):
    async def noting(message):
        note(message["type"])
        await send(message)
    await inner(scope, receive, noting if scope["type"] == "lifespan" else send)
"""


def extend(service: Service, hooks: str, version: str = "1") -> None:
    install(service.directory, version)
    app = service.directory / "app.py"
    app.write_text(app.read_text() + NOTED + hooks)


def notes(service: Service, pid: int = 0) -> list[str]:
    """Return what was noted, by all processes or by one."""
    noted = service.directory / "noted"
    lines = [line.rsplit(" ", 1) for line in noted.read_text().splitlines()] if noted.exists() else []
    return [text for text, by in lines if pid in (0, int(by))]


def wait_noted(service: Service, text: str, count: int = 1) -> None:
    wait_until(lambda: notes(service).count(text) >= count)
