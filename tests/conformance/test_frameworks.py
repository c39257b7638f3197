"""Apps of eight frameworks: the same probes on each, at rest and while new code takes over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest

from sockact.sockets.fds import Listener
from tests.conformance.probes import PROBES, websocket
from tests.conformance.serving import SUPERVISED, reload, start
from tests.support.http_client import Client
from tests.support.manager import LIMIT, Manager, wait_until

ASGI = ("starlette", "fastapi", "litestar", "quart")
"""Those which have WebSockets, too."""

FRAMEWORKS = (*ASGI, "django_asgi", "django_wsgi", "flask", "bottle")

CLIENTS = 2

NAMES = {
    "starlette": "Starlette",
    "fastapi": "FastAPI",
    "litestar": "Litestar",
    "quart": "Quart",
    "django_asgi": "Django, ASGI",
    "django_wsgi": "Django, WSGI",
    "flask": "Flask",
    "bottle": "Bottle",
}


def say(passed: Callable[..., None], framework: str, cases: str, count: int) -> None:
    passed(NAMES[framework], version(framework.partition("_")[0]), cases, count)


class Asking:
    """Clients that ask all probes in turn, each on one connection for good, until the end of a block.

    Args:
        listener: the service's.
        sockets: whether they open WebSockets, too.
    """

    def __init__(self, listener: Listener, *, sockets: bool) -> None:
        self._listener = listener
        self._sockets = sockets
        self._rounds = [0] * CLIENTS
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._asked = [self._pool.submit(self._ask, number) for number in range(CLIENTS)]

    def _ask(self, number: int) -> None:
        with Client(self._listener) as client:
            while not self._over.is_set():
                for probe in PROBES:
                    probe(client)
                if self._sockets:
                    websocket(self._listener.address)
                self._rounds[number] += 1

    def wait_round(self) -> None:
        """Wait until each client has begun and ended a round; raises what one has met."""
        wanted = [rounds + 2 for rounds in self._rounds]
        wait_until(lambda: self._failed() or all(map(int.__ge__, self._rounds, wanted)), 3 * LIMIT)
        if self._failed():
            self.end()

    def _failed(self) -> bool:
        return any(asked.done() for asked in self._asked)

    def end(self) -> int:
        """Let all of them end, and return how many requests were answered; raises what one has met."""
        self._over.set()
        for asked in self._asked:
            asked.result(3 * LIMIT)
        self._pool.shutdown()
        return sum(self._rounds) * (len(PROBES) + self._sockets)

    def close(self) -> None:
        self._over.set()
        self._pool.shutdown()


def ask_over_a_reload(manager: Manager, listener: Listener, *, sockets: bool) -> int:
    """Reload while clients ask, and return how many requests were answered; raises what one has met."""
    clients = Asking(listener, sockets=sockets)
    try:
        clients.wait_round()
        reload(manager)
        clients.wait_round()
        return clients.end()
    finally:
        clients.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_all_probes_pass_on_one_connection(
    manager: Manager, listener: Listener, framework: str, passed: Callable[..., None]
) -> None:
    start(manager, listener, framework)

    with Client(listener) as client:
        for probe in PROBES:
            probe(client)
        if framework in ASGI:
            websocket(listener.address)

    say(passed, framework, "at rest", len(PROBES) + (framework in ASGI))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_probe_fails_and_no_connection_ends_in_a_reload(
    manager: Manager, listener: Listener, framework: str, passed: Callable[..., None]
) -> None:
    start(manager, listener, framework, *SUPERVISED, "--websocket-grace=60s")

    count = ask_over_a_reload(manager, listener, sockets=framework in ASGI)

    say(passed, framework, "over a reload", count)


def test_a_connection_that_ends_in_a_reload_is_seen(manager: Manager, listener: Listener) -> None:
    start(manager, listener, "bottle", *SUPERVISED, "--no-handover", "--linger=0.1s")

    with pytest.raises((AssertionError, ConnectionError)):
        ask_over_a_reload(manager, listener, sockets=False)
