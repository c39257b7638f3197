"""HAProxy's agent checks, on the listener named `agent`: sockact answers them itself, in every phase."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.errors import ActivationError
from sockact.sockets.fds import Listener
from tests.support.commands import ask_for_reload, reload
from tests.support.gate import install
from tests.support.http_client import connect, get
from tests.support.manager import LIMIT, Manager, listening, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import HANG, SLOW_STARTUP, Service, break_app
from tests.support.sources import HELLO

ALONE, SUPERVISED = SHAPES = ["--workers=0", "--workers=1"]
READY = b"up ready\n"
UNTIL_TOLD = """
def hang():
    open("hangs", "w").close()
    while not os.path.exists("enough"):
        time.sleep(0.01)
"""


@pytest.fixture
def agent() -> Iterator[Listener]:
    """Give the listener that HAProxy asks."""
    listener = listening(name="agent")
    yield listener
    listener.close()


def check(agent: Listener, sent: bytes = b"") -> bytes:
    """Ask as HAProxy does, with this `agent-send`, and return the answer up to its end."""
    with connect(agent) as sock:
        sock.sendall(sent)
        with sock.makefile("rb") as file:
            return file.read()


def stop(service: Service) -> None:
    """Begin a stop."""
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_service_that_serves_is_up_and_ready(service: Service, agent: Listener, shape: str) -> None:
    service.start(shape, more=[agent])

    assert check(agent) == READY
    assert check(agent, b"service/app\n") == READY
    assert "pid" in get(service.listener).text


@pytest.mark.parametrize("shape", SHAPES)
def test_before_its_start_is_done_it_is_down(service: Service, agent: Listener, shape: str) -> None:
    install(service.directory)
    break_app(service, SLOW_STARTUP)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    service.manager.sockact("app:app", shape, listeners=[service.listener, agent], **environ)
    starting = service.gate.wait()

    assert check(agent) == b"down #no worker\n"
    starting.release()
    service.manager.wait_ready()
    assert check(agent) == READY


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stop_drains_while_it_goes_on_accepting_and_then_it_is_stopped(
    service: Service, agent: Listener, shape: str
) -> None:
    service.start(shape, "--drain-delay=60s", more=[agent])
    busy = service.client()
    busy.ask("/hold")
    held = service.gate.wait()
    stop(service)

    wait_until(lambda: check(agent) == b"drain\n")
    assert get(service.listener).status == 200
    service.manager.signal(signal.SIGUSR1)  # which means nothing
    assert check(agent) == b"drain\n"
    service.manager.signal(signal.SIGUSR2)  # the end of the delay, and of what is in flight
    held.close()
    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_service_that_accepts_no_more_is_stopped(service: Service, agent: Listener, shape: str) -> None:
    service.start(shape, "--drain-delay=0.1s", more=[agent])
    busy = service.client()
    busy.ask("/hold")
    held = service.gate.wait()
    stop(service)

    wait_until(lambda: check(agent) == b"stopped\n")
    assert service.manager.running
    held.release()
    assert busy.read().status == 200
    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reload_that_is_refused_leaves_it_ready(service: Service, agent: Listener, shape: str) -> None:
    service.start(shape, "--drain-delay=60s", more=[agent])
    break_app(service, SLOW_STARTUP.replace("startup.complete", "startup.failed"))
    with ask_for_reload(service) as caller:
        trial = service.gate.wait()
        during = check(agent)
        trial.release()
        caller.communicate(timeout=LIMIT)

    assert (caller.returncode, during, check(agent)) == (1, READY, READY)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reload_leaves_it_ready_while_the_new_code_starts(
    service: Service, agent: Listener, shape: str
) -> None:
    health = listening(name="health")
    service.start(shape, "--drain-delay=60s", "--probation=0.1s", more=[agent, health])
    break_app(service, SLOW_STARTUP)
    with ask_for_reload(service) as caller:
        said = []
        for _ in range(2 if shape == ALONE else 1):  # alone, a trial and then the new code in its place
            starting = service.gate.wait()
            said.append((check(agent), get(health, "/").status))
            starting.release()
        caller.communicate(timeout=LIMIT)

    assert caller.returncode == 0
    assert set(said) == {(READY, 200)}
    assert check(agent) == READY
    health.close()


def test_a_service_whose_workers_have_died_is_down_until_another_one_serves(
    service: Service, agent: Listener
) -> None:
    health = listening(name="health")
    pid = service.start(SUPERVISED, more=[agent, health])
    break_app(service, SLOW_STARTUP)
    (worker,) = workers(pid)
    os.kill(worker, signal.SIGKILL)
    wait_gone(worker)
    starting = service.gate.wait()

    assert (check(agent), get(health, "/").text) == (b"down #no worker\n", "starting\n")
    starting.release()
    wait_until(lambda: check(agent) == READY)
    assert get(health, "/").text == "ready\n"
    health.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_it_does_not_wait_for_an_app_that_hangs(service: Service, agent: Listener, shape: str) -> None:
    install(service.directory)
    break_app(service, HANG.replace("time.sleep(3600)", "hang()") + UNTIL_TOLD)
    service.start(shape, "--worker-watchdog=none", more=[agent])
    service.client().ask("/hang")
    wait_until(lambda: Path("hangs").exists())

    said = check(agent)
    Path("enough").touch()

    assert said == READY


@pytest.mark.parametrize("shape", SHAPES)
def test_no_client_of_it_holds_up_another_one_or_the_service(
    service: Service, agent: Listener, shape: str
) -> None:
    """They never close, never read, close one half, or send without an end."""
    service.start(shape, "--probation=0.1s", more=[agent])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(agent)) for _ in range(200)]
        for number, client in enumerate(clients):
            client.setblocking(False)
            if number % 3 == 0:
                client.shutdown(socket.SHUT_WR)
            elif number % 3 == 1:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                with contextlib.suppress(BlockingIOError):
                    client.send(bytes(1_000_000))
        begun = time.monotonic()

        assert check(agent) == READY
        assert get(service.listener).status == 200
        assert reload(service)[0] == 0
        assert check(agent) == READY
        assert time.monotonic() - begun < LIMIT
        clients[2].settimeout(LIMIT)
        with contextlib.suppress(ConnectionResetError):
            assert clients[2].makefile("rb").read() in (READY, b"")  # disconnected: its time is over


@pytest.mark.parametrize("shape", SHAPES)
def test_an_app_cannot_be_served_on_sockets_of_that_name(
    manager: Manager, listener: Listener, agent: Listener, shape: str
) -> None:
    Path("app.py").write_text(HELLO)
    manager.sockact("agent=app:app", shape, "web=app:app", listeners=[listener, agent])

    assert manager.wait_exit() == ActivationError.exit_status
    said = manager.said("STATUS")[-1]
    assert said.startswith(
        "no socket is called agent, for sockact itself answers on such: expected another"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_an_error_if_no_other_socket_is_passed(manager: Manager, agent: Listener, shape: str) -> None:
    """Rather than to serve the app elsewhere, where nobody looks for it."""
    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", shape, listeners=[agent])

    assert manager.wait_exit() == ActivationError.exit_status
    expected = f"no socket is for an app: sockact itself answers on agent={agent.address}"
    assert manager.said("STATUS")[-1] == expected


def test_nor_does_it_bind_only_such(manager: Manager) -> None:
    Path("app.py").write_text(HELLO)
    manager.sockact("app:app", "--listen=agent=127.0.0.1:0")

    assert manager.wait_exit() == ActivationError.exit_status
    assert manager.said("STATUS")[-1].startswith(
        "no socket is for an app: sockact itself answers on agent="
    )


def test_the_service_can_bind_it_itself(service: Service) -> None:
    """As in a container."""
    free = listening(name="agent")
    address = free.address
    free.close()
    install(service.directory)
    listen = f"--listen=agent={address}"
    environ = {"RUNTIME_DIRECTORY": str(service.directory)}
    service.manager.sockact("app:app", ALONE, "--listen=127.0.0.1:0", listen, **environ)
    service.manager.wait_ready()
    port = int(address.rpartition(":")[2])

    with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
        assert sock.makefile("rb").read() == READY
