"""The origin of sockets, and what a service says of them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from sockact.sockets import listen
from tests.support.commands import ask, status
from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import Manager, listening
from tests.support.service import Service

KEEPALIVE_TIMER = "02"
"""The timer of a connection that waits to send a keep-alive probe, in /proc/net/tcp: proc(5)."""


def test_connections_inherit_the_keep_alive_of_the_socket_unit(service: Service) -> None:
    assert service.listener.sock is not None
    service.listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    service.listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 180)
    service.start()
    client = service.client()
    client.get()

    kind, seconds = timer(client.sock)

    assert kind == KEEPALIVE_TIMER
    assert 60 < seconds <= 180


def test_connections_have_no_keep_alive_of_their_own(service: Service) -> None:
    service.start()
    client = service.client()
    client.get()

    assert timer(client.sock)[0] == "00"


def timer(client: socket.socket) -> tuple[str, float]:
    """Return the timer of the other end of a connection, and when it expires."""
    server, port = (f"{number:04X}" for number in (client.getpeername()[1], client.getsockname()[1]))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, when, *_ = line.split()
        if local.endswith(f":{server}") and remote.endswith(f":{port}"):
            kind, ticks = when.split(":")
            return kind, int(ticks, 16) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("no such connection")


def test_what_sockact_binds_is_one_socket_with_one_queue() -> None:
    (listener,) = listen.bind(["127.0.0.1:0"])

    assert listener.sock is not None
    assert not listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    listener.close()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_service_that_needs_a_passed_socket_does_not_start_without(
    manager: Manager, workers: str
) -> None:
    install(Path())
    manager.sockact("app:app", "--require-activation", f"--workers={workers}", "--control=none")

    assert manager.wait_exit() == 69
    assert manager.said("READY") == []
    assert manager.said("STATUS")[-1].startswith("require_activation=yes: expected sockets")


def test_a_service_that_needs_a_passed_socket_starts_with_it(service: Service) -> None:
    service.start("--require-activation", "--workers=1")

    assert service.client().get().status == 200


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_service_that_binds_its_own_socket_says_so(manager: Manager, workers: str) -> None:
    install(Path())
    options = (f"--workers={workers}", "--listen=unix:web.sock", "--control=none")
    manager.sockact("app:app", *options)
    manager.wait_ready()

    assert get("web.sock").status == 200
    assert manager.stderr().count("no socket was passed: listens on listen=web.sock") == 1


def test_several_listeners_are_served_by_one_service_which_one_signal_reloads(
    manager: Manager, tmp_path: Path
) -> None:
    install(tmp_path)
    both = [listening(name="web"), listening(name="admin")]
    manager.sockact("app:app", "--workers=1", "--probation=0.1s", "--control=none", listeners=both)
    manager.wait_ready()

    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()

    assert {get(listener).status for listener in both} == {200}
    assert manager.said("RELOADING") == ["1"]
    for listener in both:
        listener.close()


def test_the_status_shows_which_sockets_are_held(service: Service) -> None:
    service.start("--workers=1")
    address = service.listener.address

    assert status(service)["sockets"] == [{"name": "web", "kind": "stream socket", "address": address}]
    assert f"holds web={address}" in ask(service).stdout.splitlines()


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["{held} (Stream)"], []),
        (
            ["127.0.0.1:81 (Stream)"],
            [
                "{held} is held, and in no socket unit any more",
                "127.0.0.1:81 is in app.socket, and not held: restart app.socket",
            ],
        ),
        (["{held} (Stream)", "/run/x (FIFO)"], []),
        ([], []),
    ],
    ids=["same", "moved", "without an address", "unknown"],
)
def test_a_socket_unit_that_lists_another_address_by_now_is_named(
    service: Service, listed: list[str], expected: list[str]
) -> None:
    pid = service.start(RUNTIME_DIRECTORY="")
    held = service.listener.address
    lines = "".join(f"Listen={each.format(held=held)}\n" for each in listed)
    (service.directory / "listed").write_text(lines)
    systemctl = service.directory / "systemctl"
    systemctl.write_text(
        f"#!{sys.executable}\nimport sys\nwanted = sys.argv[2].removeprefix('--property=')\n"
        f"shown = {{'TriggeredBy': 'TriggeredBy=app.timer app.socket\\n',\n"
        f" 'Listen': open({str(service.directory / 'listed')!r}).read()}}\n"
        f"unit = 'LoadState=loaded\\nMainPID={pid}\\nRuntimeDirectory=\\n'\n"
        "print(end=shown.get(wanted, unit))\n"
    )
    systemctl.chmod(0o755)

    shown = ask(
        service, "app.service", RUNTIME_DIRECTORY="", PATH=f"{service.directory}:{os.environ['PATH']}"
    )

    lines_after = shown.stdout.splitlines()
    assert [line for line in lines_after if " held" in line] == [
        line.format(held=held) for line in expected
    ]
