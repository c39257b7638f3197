"""The event loop that serves, where neighbours may send descriptors and the kernel cannot refuse them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sockact.process import event_loop
from sockact.sockets.fds import Listener
from sockact.untrusted import ancillary


def listener(path: str | None, mode: int = 0o666) -> Listener:
    sock = socket.socket() if path is None else socket.socket(socket.AF_UNIX)
    sock.bind(("127.0.0.1", 0) if path is None else path)
    if path is not None and path.startswith("/"):
        Path(path).chmod(mode)
    sock.listen()
    return Listener.of(sock, "web")


@pytest.mark.parametrize(
    ("path", "mode", "kernel_refuses", "chosen"),
    [
        ("{}/web", 0o666, False, "asyncio"),
        ("{}/web", 0o660, False, "uvloop"),
        ("{}/web", 0o666, True, "uvloop"),
        ("\0sockact-{}", 0, False, "asyncio"),
        (None, 0, False, "uvloop"),
    ],
)
def test_uvloop_serves_no_unix_socket_on_which_everybody_may_send_descriptors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str | None,
    mode: int,
    kernel_refuses: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr(ancillary, "can_refuse", lambda _: kernel_refuses)
    each = listener(None if path is None else path.format(tmp_path), mode)

    assert event_loop.suited("uvloop", [each]) == chosen
    assert event_loop.suited("asyncio", [each]) == "asyncio"
    each.close()


def test_a_listener_whose_path_is_out_of_reach_counts_as_open_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ancillary, "can_refuse", lambda _: False)
    each = listener(f"{tmp_path}/web", 0o600)
    (tmp_path / "web").unlink()

    assert event_loop.suited("uvloop", [each]) == "asyncio"
    each.close()
