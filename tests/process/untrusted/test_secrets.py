"""Secrets of an app: nothing of sockact's tells them, and what the app starts gets nothing of sockact's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ask, reload
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.processes import children, workers
from tests.support.service import Service, break_app

OF_THE_UNIT, OF_A_FILE, MALFORMED = "unit-4711", "file-4712", "file-4713"
SECRETS = (OF_THE_UNIT, OF_A_FILE, MALFORMED)

LEAK = """
import logging
served = app
async def app(scope, receive, send):
    if scope.get("path") == "/leak":
        logging.getLogger("sockact.app").warning("%s", os.environ["APP_PASSWORD"])
    await served(scope, receive, send)
"""
BROKEN_FILES = [
    f"DB_PASSWORD='{MALFORMED}\n",
    f"{MALFORMED}\n",
    f"LISTEN_PID={MALFORMED}\n",
    f"DB_PASSWORD={MALFORMED}\x00\n",
    f"DB_PASSWORD={MALFORMED}{'x' * 200_000}\n",
]


def told(service: Service) -> Iterator[str]:
    """Yield all that the service has said, to whomever, or shows."""
    yield service.manager.stderr()
    for heard in service.manager.heard:
        yield from heard.assignments.values()
    for form in ((), ("--json",), ("--prometheus",)):
        yield ask(service, *form).stdout
    main = service.manager.pid
    for pid in (main, *children(main)):
        yield Path(f"/proc/{pid}/cmdline").read_text()
    yield from (str(path) for path in service.directory.rglob("*"))


def found(service: Service) -> set[str]:
    service.manager.catch_up()
    texts = list(told(service))
    return {secret for secret in SECRETS if any(secret in text for text in texts)}


@pytest.mark.parametrize("mode", [("--workers=0",), ("--workers=2", "--probation=0.1s")])
def test_no_secret_is_told(service: Service, mode: tuple[str, ...]) -> None:
    install(service.directory)
    break_app(service, LEAK)
    file = service.directory / "app.env"
    file.write_text(f"DB_PASSWORD={OF_A_FILE}\n")
    service.start(*mode, "--env-file=app.env", "--log-level=debug", APP_PASSWORD=OF_THE_UNIT)
    assert reload(service)[0] == 0
    for content in BROKEN_FILES:
        file.write_text(content)
        status, text = reload(service)
        assert status == 1
        assert MALFORMED not in text
    break_app(service, "x = (")
    assert reload(service)[0] == 1

    assert found(service) == set()

    get(service.listener, "/leak")
    assert found(service) == {OF_THE_UNIT}  # so it would have been seen


def test_the_secrets_of_a_file_are_those_of_the_workers(service: Service) -> None:
    install(service.directory)
    (service.directory / "app.env").write_text(f"DB_PASSWORD={OF_A_FILE}\n")
    main = service.start("--workers=1", "--probation=0.1s", "--env-file=app.env")

    assert OF_A_FILE in Path(f"/proc/{workers(main)[0]}/environ").read_text()
    assert OF_A_FILE not in Path(f"/proc/{main}/environ").read_text()


# What the app starts.

GRANDCHILD = """
import json, os, subprocess, sys
SHOW = "import json, os; print(json.dumps([sorted(os.environ), os.listdir('/proc/self/fd')]))"
START = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}], close_fds=False)"
served = app
async def app(scope, receive, send):
    if scope.get("path") != "/grandchild":
        return await served(scope, receive, send)
    body = subprocess.run([sys.executable, "-c", START], close_fds=False, stdout=subprocess.PIPE).stdout
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
MODES = [("--workers=0",), ("--workers=1", "--probation=0.1s"), ("--workers=1", "--preload")]


@pytest.mark.parametrize("mode", MODES, ids=["alone", "supervised", "preload"])
def test_a_program_that_the_app_starts_gets_nothing_of_ours(
    service: Service, mode: tuple[str, ...]
) -> None:
    install(service.directory)
    break_app(service, GRANDCHILD)
    service.start(*mode, WATCHDOG_USEC="30000000", FDSTORE="100", SOCKACT_DRAIN_DELAY="0s")
    reload(service)

    environ, descriptors = json.loads(get(service.listener, "/grandchild").text)

    assert [
        name for name in environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "FDSTORE"))
    ] == []
    ours = {name for name in environ if name.startswith(("SOCKACT_", "X_SOCKACT_"))}
    assert ours == {"SOCKACT_WORKERS", "SOCKACT_DRAIN_DELAY"}  # settings of the test's
    assert len(descriptors) == 4  # the standard streams, and the folder that it reads
