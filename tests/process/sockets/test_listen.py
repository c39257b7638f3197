"""Sockets that sockact binds itself, where none was passed."""

from __future__ import annotations

import re
import socket
import stat
from pathlib import Path

import pytest

from sockact.sockets import listen
from tests.support.http_client import get
from tests.support.manager import Manager, listening

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


def served(manager: Manager, *addresses: str, **environ: str) -> list[str]:
    """Start the app, and return where it says that it listens."""
    Path("app.py").write_text(APP)
    manager.sockact("app:app", *(f"--listen={address}" for address in addresses), **environ)
    manager.wait_ready()
    found = re.search(r"serves (.*)", manager.stderr())
    assert found
    return [place.removeprefix("listen=") for place in found[1].split(", ")]


def refused(manager: Manager, *addresses: str) -> tuple[int, str]:
    """Start the app, which cannot listen, and return the exit status and its only line."""
    Path("app.py").write_text(APP)
    manager.sockact("app:app", *(f"--listen={address}" for address in addresses))
    status = manager.wait_exit()
    assert manager.said("READY") == []
    assert manager.stderr().count("\n") == 1, manager.stderr()
    return status, manager.stderr()


def place(text: str) -> str | tuple[str, int]:
    if text.startswith(("/", "@")):
        return text
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


@pytest.mark.parametrize(
    ("address", "pattern"),
    [
        ("127.0.0.1:0", r"127\.0\.0\.1:\d+"),
        ("[::1]:0", r"\[::1\]:\d+"),
        ("unix:{}/web.sock", r"/.*/web\.sock"),
        ("unix:@sockact-test-{}", r"@sockact-test-.*"),
        ("{}/web.sock", r"/.*/web\.sock"),
        ("@sockact-test-{}", r"@sockact-test-.*"),
    ],
)
def test_each_form_of_an_address_is_listened_on(
    manager: Manager, tmp_path: Path, address: str, pattern: str
) -> None:
    (where,) = served(manager, address.format(tmp_path))

    assert re.fullmatch(pattern, where)
    assert get(place(where)).text == "hello"


@pytest.mark.parametrize("address", [":0", "0"])
def test_a_port_alone_means_all_addresses_of_both_protocols(manager: Manager, address: str) -> None:
    (where,) = served(manager, address)
    port = int(where.rpartition(":")[2])

    assert get(("127.0.0.1", port)).text == "hello"
    assert get(("::1", port)).text == "hello"


def test_a_name_means_all_its_addresses_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not every machine knows a name: a bare one has no /etc/hosts.
    known = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "192.0.2.1"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in known]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    listeners = listen.bind(["name:0"])

    hosts = [listener.address.rsplit(":")[0] for listener in listeners]
    for listener in listeners:
        listener.close()
    assert hosts == ["127.0.0.1", "127.0.0.2"]


def test_several_addresses_are_all_listened_on(manager: Manager, tmp_path: Path) -> None:
    found = served(manager, "127.0.0.1:0", f"unix:{tmp_path}/a.sock", f"unix:{tmp_path}/b.sock")

    assert len(found) == 3
    assert {get(place(where)).text for where in found} == {"hello"}


def test_the_variable_lists_several(manager: Manager, tmp_path: Path) -> None:
    found = served(manager, SOCKACT_LISTEN=f"127.0.0.1:0 unix:{tmp_path}/a.sock")

    assert {get(place(where)).text for where in found} == {"hello"}


def test_nothing_is_bound_where_a_socket_was_passed(manager: Manager) -> None:
    Path("app.py").write_text(APP)
    passed = listening()
    manager.sockact("app:app", "--listen=unix:web.sock", listeners=[passed])
    manager.wait_ready()

    assert get(passed).text == "hello"
    assert not Path("web.sock").exists()
    passed.close()


def test_an_address_in_use_is_unavailable(manager: Manager) -> None:
    other = listening()

    status, text = refused(manager, other.address)

    assert status == 69
    assert f"cannot listen on {other.address}: another process listens there" in text
    assert manager.said("STATUS")[-1] in text
    other.close()


def test_an_abstract_address_in_use_is_unavailable(manager: Manager, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0{tmp_path}")
        other.listen()

        status, text = refused(manager, f"unix:@{tmp_path}")

    assert status == 69
    assert f"cannot listen on @{tmp_path}: another process listens there" in text


@pytest.mark.parametrize(
    "address",
    [
        "80000",
        "wêb=8000",
        "localhost",
        "127.0.0.1:",
        ":x",
        ":65536",
        "::1:80",
        "[::1]",
        "http://x:80",
        "x:80:81",
        "[nonsense]:80",
    ],
)
def test_a_bad_address_is_an_error_of_the_settings(manager: Manager, address: str) -> None:
    status, text = refused(manager, address)

    assert status == 78
    expected = "expected host:port, [v6]:port, port, /path, unix:/path or @abstract"
    assert f"listen={address!r}: {expected}" in text


@pytest.mark.parametrize("address", ["unix:", "unix:@"])
def test_a_unix_address_without_a_name_is_an_error_of_the_settings(manager: Manager, address: str) -> None:
    status, text = refused(manager, address)

    assert status == 78
    assert f"listen={address!r}: expected a path or @name after unix:" in text


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid"])
def test_an_unknown_host_is_an_error_of_the_settings(manager: Manager, host: str) -> None:
    status, text = refused(manager, f"{host}:80")

    assert status == 78
    assert f"host {host!r} is unknown: " in text


def test_an_address_of_another_machine_is_unavailable(manager: Manager) -> None:
    status, text = refused(manager, "192.0.2.1:80")

    assert status == 69
    assert "cannot listen on 192.0.2.1:80: Cannot assign requested address" in text


@pytest.mark.parametrize(
    ("path", "reason"),
    [("{}/missing/web.sock", "No such file or directory"), ("{}/" + "x" * 120, "AF_UNIX path too long")],
)
def test_a_path_that_cannot_be_is_unavailable(
    manager: Manager, tmp_path: Path, path: str, reason: str
) -> None:
    where = path.format(tmp_path)

    status, text = refused(manager, f"unix:{where}")

    assert status == 69
    assert f"cannot listen on {where}: {reason}" in text


def test_a_stale_socket_file_is_taken_over(manager: Manager, tmp_path: Path) -> None:
    where = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(where)
        dead.listen()

    served(manager, f"unix:{where}")

    assert get(where).text == "hello"


def test_a_socket_file_that_is_listened_on_is_left_alone(manager: Manager, tmp_path: Path) -> None:
    where = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(where)
        other.listen()

        status, text = refused(manager, f"unix:{where}")
        client.connect(where)  # it still stands

    assert status == 69
    assert f"cannot listen on {where}: another process listens there" in text


def test_a_socket_file_whose_queue_is_full_is_left_alone(manager: Manager, tmp_path: Path) -> None:
    where = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(where)
        other.listen(0)
        client.connect(where)  # one fits; the next would have to wait

        status, text = refused(manager, f"unix:{where}")

    assert status == 69
    assert f"cannot listen on {where}: another process listens there" in text


def test_a_datagram_socket_in_the_way_is_left_alone(manager: Manager, tmp_path: Path) -> None:
    where = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(where))

        status, text = refused(manager, f"unix:{where}")

    assert status == 69
    assert f"cannot listen on {where}: " in text
    assert stat.S_ISSOCK(where.stat().st_mode)


def test_a_file_in_the_way_is_left_alone(manager: Manager, tmp_path: Path) -> None:
    where = tmp_path / "web.sock"
    where.write_text("precious")

    status, text = refused(manager, f"unix:{where}")

    assert status == 69
    assert f"cannot listen on {where}: a file that is not a socket is in the way" in text
    assert where.read_text() == "precious"


def test_one_address_that_cannot_be_had_fails_the_start(manager: Manager, tmp_path: Path) -> None:
    other = listening()

    assert refused(manager, f"unix:{tmp_path}/web.sock", other.address)[0] == 69
    other.close()
