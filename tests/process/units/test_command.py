"""`sockact units` on the command line: what is printed, written, shown, refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import SOCKACT
from tests.support.manager import LIMIT

ELSEWHERE = ("--chdir", "/opt/of-another-machine", "--venv", "/opt/of-another-machine/venv")


def units(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command in a folder; return its exit status, its output and its errors."""
    command = [*SOCKACT, "units", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_files_are_printed_with_their_paths(tmp_path: Path) -> None:
    status, out, err = units(tmp_path, "shop:app", *ELSEWHERE, "--listen", "443", "--systemd", "257")

    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("# /etc")] == [
        "# /etc/systemd/system/shop.socket",
        "# /etc/systemd/system/shop.service",
    ]
    assert "\nListenStream=443\n" in out
    assert "FDSTORE" not in out
    assert err == (
        "sockact: /opt/of-another-machine/venv/bin/sockact is not on this machine\n"
        "sockact: /opt/of-another-machine is not on this machine\n"
    )


def test_the_name_is_that_of_the_app_or_of_its_folder(tmp_path: Path) -> None:
    for app, name in (
        ("shop.wsgi:app", "shop"),
        ("wsgi:app", "of-another-machine"),
        ("web=shop:app", "shop"),
    ):
        assert f"system/{name}.socket\n" in units(tmp_path, app, *ELSEWHERE)[1]


def test_an_app_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def create_app(): ...\n")
    status, out, err = units(tmp_path, "-l", "80", "-w", "2", "--quadlet", "localhost/shop")

    assert status == 0
    assert "sockact: found main:create_app\n" in err
    assert " --factory --workers=2 main:create_app\n" in out


def test_a_container_has_a_file_of_its_own_folder(tmp_path: Path) -> None:
    status, out, err = units(tmp_path, "shop:app", "--listen", "8000", "--quadlet", "localhost/shop")

    assert (status, err) == (0, "")
    assert "# /etc/containers/systemd/shop.container\n" in out
    assert "\nExec=sockact run --control=/tmp/sockact.control shop:app\n" in out


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_a_folder_is_filled_and_what_differs_is_kept(tmp_path: Path) -> None:
    wish = ("shop:app", "--listen", "8000", "--quadlet", "localhost/shop", "--output", "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/shop.socket").write_text("[Socket]\nListenStream=1\n")
    status, out, err = units(tmp_path, *wish)

    assert status == 78
    assert "-ListenStream=1\n" in out
    assert "+ListenStream=8000\n" in out
    assert "nothing is written without --force" in err
    assert not (tmp_path / "out/shop.container").exists()
    assert units(tmp_path, *wish, "--force")[0] == 0
    assert "shop.socket: unchanged\n" in units(tmp_path, *wish)[1]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_a_unit_that_systemd_would_not_start_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "old.service").write_text(
        "[Service]\nExecStart=gunicorn shop:app\nExecStartPre=/no/such/program\n"
    )
    status, _, err = units(tmp_path, "--from", "old.service", *ELSEWHERE, "--output", "out")

    assert status == 78
    assert "systemd-analyze verify: " in err
    assert "/no/such/program" in err
    assert not (tmp_path / "out").exists()


def test_an_existing_service_is_read_and_the_rest_is_listed(tmp_path: Path) -> None:
    status, out, err = units(tmp_path, "--from", "gunicorn -w 4 --preload -b :80 shop:app", *ELSEWHERE)

    assert status == 0
    assert "\nListenStream=80\n" in out
    assert "--workers=4 --preload" in out
    assert err.startswith(
        "sockact: Read as the command of gunicorn.\n"
        "sockact: Not quite the same:\n"
        "sockact:   --preload: preload: a reload imports the app anew"
    )


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ([], 64, "no app: expected MODULE:ATTRIBUTE, such as main:app"),
        (["shop"], 64, "shop"),
        (["shop:app", "--now"], 64, "--now: expected --install as well"),
        (["shop:app", "--listen", "unix:/run/shop/a"], 78, "expected a path elsewhere"),
        (["shop:app", "--listen", "localhost:80"], 64, "expected 127.0.0.1"),
        (["shop:app", "--env", "A"], 64, "expected NAME=VALUE"),
        (["shop:app", "--workers", "x"], 78, "workers"),
        (["shop:app", "--linger", "60s"], 78, "linger=60"),
        (["shop:app", "--install"], 78, "not there, though the units name it"),
        (["shop:app", "--print", "--install"], 64, "not allowed with"),
        (["--bind", "80", "shop:app"], 64, "there is no --bind: here it is --listen 80"),
        (["--from", "puma"], 64, "expected a command of sockact, gunicorn, uvicorn"),
        (["--from", "none.service"], 64, "there is no such unit"),
        (["--from", "gunicorn 'shop:app"], 78, "is never closed"),
        (["shop:app", "--quadlet", "x", "--template", "--listen", "%i"], 64, "--template with --quadlet"),
        (["shop:app", "--", "x"], 64, "takes a program"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(
    tmp_path: Path, words: list[str], status: int, reason: str
) -> None:
    found, out, err = units(tmp_path, *words, *ELSEWHERE)

    assert (found, out) == (status, "")
    assert reason in err
