"""The files of a unit: the folders, drop-ins and templates of systemd.unit(5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.process import unapplied
from sockact.protocols.environment import UNIT
from sockact.systemd import unit_files
from sockact.systemd.unit_files import UnitFiles


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Give two folders of units, of which the first prevails."""
    return [str(tmp_path / "etc"), str(tmp_path / "usr")]


def write(folders: list[str], path: str, text: str, folder: int = 0) -> None:
    file = Path(folders[folder], path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_drop_ins_add_to_the_file_that_prevails_and_an_empty_one_forgets(folders: list[str]) -> None:
    write(folders, "app.service", "[Service]\nExecStart=a\nEnvironment=A=1\n")
    write(folders, "app.service", "[Service]\nExecStart=never\n", folder=1)
    write(folders, "app.service.d/b.conf", "[Service]\nExecStart=\nExecStart=b\n", folder=1)
    write(folders, "app.service.d/c.conf", "[Service]\nEnvironment=never\n", folder=1)
    write(folders, "app.service.d/c.conf", "[Service]\nEnvironment=B=2\n")
    write(folders, "service.d/a.conf", "[Service]\nNice=1\n")

    assert UnitFiles("app.service", folders).read() == {
        "Service.ExecStart": ["b"],
        "Service.Environment": ["A=1", "B=2"],
        "Service.Nice": ["1"],
    }


def test_an_instance_is_read_from_its_template(folders: list[str]) -> None:
    write(folders, "app@.service", "[Unit]\nRequires=app@%i.socket\n[Service]\nType=notify\n")
    write(folders, "app@.socket", "[Socket]\nListenStream=%i\n")
    write(folders, "app@1.service.d/a.conf", "[Service]\nNice=1\n")
    service = UnitFiles("app@1.service", folders)

    (socket,) = service.sockets()

    assert service.read()["Service.Nice"] == ["1"]
    assert socket.name == "app@1.socket"
    assert service.wants(socket)


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("app.socket", "[Socket]\n", ["app.socket"]),
        ("web.socket", "[Socket]\nService=app.service\n", ["web.socket"]),
        ("app.socket", "[Socket]\nService=other.service\n", []),
        ("app.socket", "[Socket]\nAccept=yes\n", []),
        ("other.socket", "[Socket]\n", []),
    ],
)
def test_a_socket_unit_is_known_by_its_name_and_by_what_it_starts(
    folders: list[str], path: str, text: str, found: list[str]
) -> None:
    write(folders, "app.service", "[Service]\n")
    write(folders, path, text)

    assert [unit.name for unit in UnitFiles("app.service", folders).sockets()] == found


def test_a_masked_socket_unit_is_none(folders: list[str]) -> None:
    write(folders, "app.service", "[Service]\n")
    write(folders, "app.socket", "[Socket]\n", folder=1)
    Path(folders[0], "app.socket").symlink_to("/dev/null")

    assert UnitFiles("app.service", folders).sockets() == []


def test_a_socket_unit_is_wanted_that_is_required_listed_or_enabled(folders: list[str]) -> None:
    write(folders, "app.service", "[Unit]\nRequires=a.socket\n[Service]\nSockets=b.socket\n")
    write(folders, "sockets.target.wants/c.socket", "")
    service = UnitFiles("app.service", folders)

    wanted = {name: service.wants(service.other(f"{name}.socket")) for name in "abcd"}

    assert wanted == {"a": True, "b": True, "c": True, "d": False}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (["--workers=1"], ["--workers=2"], ["workers=2"]),
        ([], ["--workers=2"], ["workers=2"]),
        (["--workers=2", "--surge=1"], ["--surge=1"], ["no --workers"]),
        (["--env-file=a", "--env-file=b"], ["--env-file=a", "--env-file=b"], []),
    ],
)
def test_options_that_differ_are_named(before: list[str], now: list[str], said: list[str]) -> None:
    assert unapplied.differences(before, now) == said


def test_more_settings_than_the_control_socket_takes_are_not_told() -> None:
    assert unapplied.settings_in({"SOCKACT_LISTEN": "x" * 5000}) == {}
    assert unapplied.settings_in({"SOCKACT_LISTEN": "x", "HOME": "/"}) == {"SOCKACT_LISTEN": "x"}


@pytest.mark.parametrize("note", ["", "app.service:ExecStart", "a =b c=", "= == x=1=2"])
def test_a_note_of_another_process_in_any_form_is_read(note: str) -> None:
    snapshot = unapplied.StartSnapshot({UNIT: note})

    assert all(isinstance(text, str) for text in snapshot.changed({}))


def be_in_unit(folders: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Have this process be in a unit with this text; None for one without a file."""
    if text is not None:
        write(folders, "app.service", text)
    monkeypatch.setattr(unit_files, "of_this_process", lambda _: UnitFiles("app.service", folders))


@pytest.mark.parametrize(
    ("text", "awaited"),
    [
        ("[Service]\nType=notify\n", False),
        ("[Service]\nType=notify\nType=notify-reload\n", True),
        ("[Service]\nType=notify-reload\nType=\n", False),
        ("[Unit]\nDescription=of the type that systemd takes for granted\n", False),
        (None, True),
    ],
)
def test_only_where_a_unit_says_that_it_does_not_need_reloading_it_is_not_told(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None, awaited: bool
) -> None:
    be_in_unit(folders, monkeypatch, text)

    assert unit_files.awaits_reloading({}) is awaited


@pytest.mark.parametrize(
    ("text", "slower"),
    [
        ("[Service]\nRestartSteps=5\n", True),
        ("[Service]\nRestartSteps=5\nRestartSteps=0\n", False),
        ("[Service]\nRestartSteps=5\nRestartSteps=\n", False),
        ("[Service]\nRestartSec=2s\n", False),
        (None, False),
    ],
)
def test_automatic_restarts_become_slower_where_the_unit_says_in_how_many_steps(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None, slower: bool
) -> None:
    be_in_unit(folders, monkeypatch, text)

    assert unit_files.restarts_slower({}) is slower


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("KillMode=process\nNonBlocking=yes\n", True),
        ("KillMode=process\nNonBlocking=yes\nExitType=main\n", True),
        ("KillMode=process\nNonBlocking=yes\nExitType=cgroup\n", False),
        ("KillMode=process\n", False),
        ("KillMode=process\nNonBlocking=no\n", False),
        ("KillMode=process\nNonBlocking=yes\nKillMode=mixed\n", False),
        ("KillMode=process\nNonBlocking=yes\nKillMode=\n", False),
        ("NonBlocking=yes\n", False),
        (None, False),
    ],
)
def test_workers_outlive_their_supervisor_only_if_the_unit_lets_them_serve(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None, left: bool
) -> None:
    be_in_unit(folders, monkeypatch, text and f"[Service]\n{text}")

    assert unit_files.leaves_processes({}) is left
