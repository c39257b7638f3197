"""Adoption, by programs that were started as systemd starts them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockact.sockets.fds import Kind, Listener
from tests.support.http_client import get
from tests.support.manager import Manager
from tests.support.sockets import bound
from tests.support.sources import HELLO

PROGRAM = [sys.executable, str(Path(__file__).parents[2] / "programs" / "adopt.py"), "seen.json"]


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Give what closes everything that a test opens."""
    with contextlib.ExitStack() as stack:
        yield stack


def opened(stack: contextlib.ExitStack, listener: Listener) -> Listener:
    stack.callback(listener.close)
    return listener


def connected(stack: contextlib.ExitStack) -> Listener:
    """Return the server's end of a TCP connection, as `Accept=yes` passes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stack.enter_context(socket.create_connection(server.getsockname()))
        return opened(stack, Listener.of(server.accept()[0], "connection"))


def fifo(path: Path) -> Listener:
    os.mkfifo(path)
    return Listener("fifo", os.open(path, os.O_RDWR), Kind.FIFO)


def message_queue(name: str) -> Listener:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "mq_open"):
        library = ctypes.CDLL("librt.so.1", use_errno=True)
    fd = library.mq_open(name.encode(), os.O_CREAT | os.O_RDONLY, 0o600, None)
    if fd < 0:
        pytest.skip(f"no POSIX message queues here: {os.strerror(ctypes.get_errno())}")
    library.mq_unlink(name.encode())
    return Listener("queue", fd, Kind.MESSAGE_QUEUE)


def adopted(manager: Manager, *listeners: Listener, shell: str = "", **environ: str) -> dict[str, Any]:
    """Return what the program sees; `shell` runs before it in its process."""
    argv = ["/bin/sh", "-c", f'{shell}\nexec "$@"', "sh", *PROGRAM] if shell else PROGRAM
    manager.start(argv, listeners, **environ)
    assert manager.wait_exit() == 0, manager.stderr()
    assert manager.stderr() == ""
    seen: dict[str, Any] = json.loads(Path("seen.json").read_text())
    return seen


def everything(stack: contextlib.ExitStack) -> list[Listener]:
    unix = socket.AF_UNIX
    listeners = [
        bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), "tcp4", listen=True),
        bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0), "tcp6", listen=True),
        bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), "udp4"),
        bound(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0), "udp6"),
        bound(unix, socket.SOCK_STREAM, "stream.sock", "unix", listen=True),
        bound(unix, socket.SOCK_STREAM, f"\0sockact-test-{os.getpid()}", "abstract", listen=True),
        bound(unix, socket.SOCK_DGRAM, "datagram.sock", "datagram"),
        bound(unix, socket.SOCK_SEQPACKET, "seqpacket.sock", "seqpacket", listen=True),
        bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), "bound"),
        bound(socket.AF_NETLINK, socket.SOCK_RAW, (0, 0), "netlink"),
        fifo(Path("fifo")),
        Listener("device", os.open("/dev/null", os.O_RDWR), Kind.OTHER),
    ]
    return [*(opened(stack, listener) for listener in listeners), connected(stack)]


def test_all_that_systemd_passes_is_adopted_in_its_order(
    manager: Manager, stack: contextlib.ExitStack
) -> None:
    passed = everything(stack)

    seen = adopted(manager, *passed)["listeners"]

    assert [one["fd"] for one in seen] == list(range(3, 3 + len(passed)))
    for field in ("name", "address", "listening"):
        assert [one[field] for one in seen] == [getattr(listener, field) for listener in passed]
    assert [one["kind"] for one in seen] == [listener.kind.name for listener in passed]
    assert [one["name"] for one in seen if one["listening"]] == [
        "tcp4",
        "tcp6",
        "unix",
        "abstract",
        "seqpacket",
    ]


def test_addresses_are_written_as_in_a_unit(manager: Manager, stack: contextlib.ExitStack) -> None:
    seen = {one["name"]: one for one in adopted(manager, *everything(stack))["listeners"]}

    assert seen["tcp4"]["address"].startswith("127.0.0.1:")
    assert seen["tcp6"]["address"].startswith("[::1]:")
    assert seen["udp6"]["address"].startswith("[::1]:")
    assert seen["unix"]["address"] == "stream.sock"
    assert seen["abstract"]["address"] == f"@sockact-test-{os.getpid()}"
    assert seen["fifo"]["address"] == ""


def test_what_is_adopted_is_close_on_exec_in_its_blocking_mode_and_with_its_protocol(
    manager: Manager, stack: contextlib.ExitStack
) -> None:
    passed = everything(stack)
    nonblocking = passed[1].sock
    assert nonblocking is not None
    nonblocking.setblocking(False)

    seen = {one["name"]: one for one in adopted(manager, *passed)["listeners"]}

    assert all(one["cloexec"] for one in seen.values())
    assert [name for name, one in seen.items() if not one["blocking"]] == ["tcp6"]
    assert seen["tcp4"]["proto"] == seen["connection"]["proto"] == socket.IPPROTO_TCP
    assert seen["udp4"]["proto"] == socket.IPPROTO_UDP


def test_a_message_queue_is_adopted_as_one(manager: Manager, stack: contextlib.ExitStack) -> None:
    queue = opened(stack, message_queue(f"/sockact-test-{os.getpid()}"))

    (seen,) = adopted(manager, queue)["listeners"]

    assert (seen["name"], seen["kind"], seen["address"]) == ("queue", "MESSAGE_QUEUE", "")


@pytest.mark.parametrize("names", [["web", "web", ""], ["", ""], ["é ✓", "a b"]])
def test_names_are_kept_as_they_are(
    manager: Manager, stack: contextlib.ExitStack, names: list[str]
) -> None:
    passed = [opened(stack, Listener(name, os.open("/dev/null", os.O_RDWR), Kind.OTHER)) for name in names]

    assert [one["name"] for one in adopted(manager, *passed)["listeners"]] == names


def test_without_names_it_is_unknown(manager: Manager, listener: Listener) -> None:
    assert adopted(manager, listener, shell="unset LISTEN_FDNAMES")["listeners"][0]["name"] == "unknown"


def test_the_variables_are_gone_from_every_environment(manager: Manager, listener: Listener) -> None:
    seen = adopted(manager, listener, shell="export LISTEN_PIDFDID=7")

    assert (seen["os"], seen["c"], seen["child"]) == ([], [], [])
    assert seen["again"] == 0


def test_without_a_manager_nothing_is_adopted(manager: Manager) -> None:
    seen = adopted(manager)

    assert (seen["listeners"], seen["error"]) == ([], "")


def test_what_is_for_another_process_is_left_alone(manager: Manager, listener: Listener) -> None:
    seen = adopted(manager, listener, shell="export LISTEN_PID=1")

    assert (seen["listeners"], seen["error"]) == ([], "")
    assert 3 in seen["open"]


BAD = [
    ("export LISTEN_FDS=x", "LISTEN_FDS='x': expected a decimal number"),
    ("export LISTEN_FDS=-1", "LISTEN_FDS='-1': expected a decimal number"),
    ("export LISTEN_FDS=", "LISTEN_FDS='': expected a decimal number"),
    ("export LISTEN_PID=x", "LISTEN_PID='x': expected a decimal number"),
    ("export LISTEN_FDS=100000", "LISTEN_FDS=100000 means descriptors 3 to 100002, but "),
    ("export LISTEN_FDNAMES=a:b:c", "LISTEN_FDNAMES has 3 names for LISTEN_FDS=2 descriptors"),
    ("export LISTEN_FDNAMES=a", "LISTEN_FDNAMES has 1 names for LISTEN_FDS=2 descriptors"),
    ("exec 3>&-", "LISTEN_FDS=2 means descriptors 3 to 4, but 3 is not open"),
]


@pytest.mark.parametrize(("shell", "message"), BAD)
def test_bad_input_is_a_clear_error_and_closes_nothing(
    manager: Manager, listener: Listener, stack: contextlib.ExitStack, shell: str, message: str
) -> None:
    seen = adopted(manager, listener, connected(stack), shell=shell)

    assert seen["listeners"] == []
    assert seen["error"].startswith(message)
    assert [fd for fd in seen["open"] if fd < 5] == ([4] if "3>&-" in shell else [3, 4])
    assert (seen["os"], seen["c"], seen["child"]) == ([], [], [])


@pytest.mark.parametrize(("shell", "message"), BAD)
def test_bad_input_ends_a_service_with_78_and_one_line(
    manager: Manager, listener: Listener, stack: contextlib.ExitStack, shell: str, message: str
) -> None:
    Path("app.py").write_text(HELLO)
    run = [sys.executable, "-m", "sockact", "run", "app:app"]
    manager.start(["/bin/sh", "-c", f'{shell}\nexec "$@"', "sh", *run], [listener, connected(stack)])

    assert manager.wait_exit() == 78
    assert manager.stderr().count("\n") == 1
    assert message in manager.stderr()
    assert manager.said("STATUS")[-1].startswith(message)
    assert manager.said("READY") == []


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)), "datagram socket"),
        (
            lambda: bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "stream socket that does not listen",
        ),
        (
            lambda: bound(socket.AF_UNIX, socket.SOCK_SEQPACKET, "x.sock", listen=True),
            "sequential-packet socket",
        ),
        (lambda: fifo(Path("fifo")), "FIFO"),
        (lambda: Listener("web", os.open("/dev/null", os.O_RDWR), Kind.OTHER), "file or device"),
    ],
)
def test_a_service_needs_listening_stream_sockets(
    manager: Manager, listener: Listener, make: Callable[[], Listener], found: str
) -> None:
    Path("app.py").write_text(HELLO)
    wrong = make()
    with contextlib.closing(wrong):
        manager.sockact("app:app", listeners=[listener, wrong])

        assert manager.wait_exit() == 78
    assert (
        f"descriptor 4 ({wrong.name}) is a {found}: expected a listening stream socket" in manager.stderr()
    )
    assert manager.stderr().count("\n") == 1
    assert manager.said("READY") == []


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is missing"
)
def test_it_is_served_under_systemd_socket_activate(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HELLO)
    where = f"{tmp_path}/web.sock"
    run = [sys.executable, "-m", "sockact", "run", "app:app"]
    command = ["systemd-socket-activate", "-l", where, "--fdname=web", *run]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()

        assert get(where).text == "hello"  # the first connection starts it
        assert get(where).text == "hello"
        process.terminate()
        assert f"serves web={where}" in process.stderr.read()
    assert process.returncode == 0
