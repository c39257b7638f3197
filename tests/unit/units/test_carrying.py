"""Existing services: what of them is carried over, and what is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sockact.cli.main import COMMANDS
from sockact.config import settings
from sockact.errors import UnitsError, UsageError
from sockact.units import carrying, request, servers, writing
from sockact.units.carried_over import CarriedOver
from sockact.units.servers import Setting

OPTIONS: dict[str, Any] = {
    **dict.fromkeys(settings.FIELDS),
    **dict.fromkeys(("name", "user", "venv", "tls", "systemd", "quadlet")),
    "manager": "system",
    "deploy_path": [],
    "env": [],
    "state": False,
    "hardened": False,
    "template": False,
    "socket_group": "",
}


def found(command: str) -> CarriedOver:
    return carrying.read(command, "/srv/shop")[1]


def run(source: str, **options: Any) -> str:
    """Return the words of the new command, after the folder."""
    wanted, _ = request.read(
        [], {**OPTIONS, "source": source, "venv": "/v", "chdir": "/srv/shop", **options}
    )
    assert writing.files(wanted)
    return wanted.words().partition(" --chdir=/srv/%p ")[2]


def test_every_setting_that_a_server_has_is_one_here() -> None:
    meanings = [option.meaning for server in servers.SERVERS.values() for option in server.options]

    assert {each.name for each in meanings if isinstance(each, Setting)} <= set(settings.FIELDS)
    assert "units" in COMMANDS


def test_every_part_is_understood() -> None:
    """Each option of each server is read with a value that it may have."""
    values = {
        "listen": ":80",
        "host": "127.0.0.1",
        "port": "80",
        "loop": "uvloop",
        "interface": "asgi",
        "uds": "/run/a.sock",
    }
    for server in servers.SERVERS.values():
        for option in server.options:
            name = option.names.split()[-1]
            value = values.get(getattr(option.meaning, "name", ""), "1") if option.takes_value else ""
            assert found(f"{server.name} {name} {value} shop:app").app == "shop:app", name


GUNICORN = "--threads=1 --trusted-proxies=127.0.0.1 --trusted-proxies=::1"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gunicorn shop", f"{GUNICORN} shop:application"),
        ("gunicorn shop.wsgi:app -w 4", f"--workers=4 {GUNICORN} shop.wsgi:app"),
        ("gunicorn -w4 --timeout=0 shop:app", f"--workers=4 --worker-watchdog=none {GUNICORN} shop:app"),
        (
            "gunicorn --threads 8 --forwarded-allow-ips 10.0.0.1 shop:app",
            "--threads=8 --trusted-proxies=10.0.0.1 shop:app",
        ),
        ("gunicorn -b unix:shop.sock shop:app", "--threads=1 --trusted-proxies=unix shop:app"),
        (
            "gunicorn --access-logfile - --access-logformat '%(h)s' shop:app",
            f'--access-log "--access-log-format=%%(h)s" {GUNICORN} shop:app',
        ),
        ("gunicorn 'shop:make()'", f"--factory {GUNICORN} shop:make"),
        (
            "python3 -m gunicorn -k gthread --threads 2 shop:app",
            "--threads=2 --trusted-proxies=127.0.0.1 --trusted-proxies=::1 shop:app",
        ),
        (
            "gunicorn -k uvicorn.workers.UvicornWorker shop:app --max-requests 99",
            "--max-requests=99 --trusted-proxies=127.0.0.1 --trusted-proxies=::1 shop:app",
        ),
        ("exec gunicorn --graceful-timeout 20 shop:app", f"--drain-timeout=20 {GUNICORN} shop:app"),
        ("uvicorn shop:app", "--access-log --trusted-proxies=127.0.0.1 shop:app"),
        ("uvicorn shop:make --factory --no-access-log --no-proxy-headers", "--factory shop:make"),
        ("poetry run uvicorn shop:app --uds /run/a.sock", "--access-log shop:app"),
        (
            "uvicorn shop:app --no-access-log --root-path /api --loop asyncio",
            "--root-path=/api --loop=asyncio --trusted-proxies=127.0.0.1 shop:app",
        ),
        (
            "uvicorn shop:app --no-access-log --log-level trace --ws-per-message-deflate False",
            "--log-level=debug --no-websocket-compression --trusted-proxies=127.0.0.1 shop:app",
        ),
        ("hypercorn -b 0.0.0.0:80 shop", "shop:app"),
        ("granian --interface wsgi shop:app --blocking-threads 4", "--kind=wsgi --threads=4 shop:app"),
        ("daphne -u /run/a.sock shop:app", "shop:app"),
        ("sh -c 'A=1 exec gunicorn shop:app'", f"{GUNICORN} shop:app"),
    ],
)
def test_a_command_line_becomes_one_of_sockact(command: str, words: str) -> None:
    assert sorted(run(command).split()) == sorted(words.split())


@pytest.mark.parametrize(
    ("command", "listen"),
    [
        ("gunicorn shop:app", ["127.0.0.1:8000"]),
        ("gunicorn -b :80 --bind [::1]:81 shop:app", [":80", "[::1]:81"]),
        ("gunicorn -b localhost:80,unix:a/b.sock shop:app", ["127.0.0.1:80", "unix:/srv/shop/a/b.sock"]),
        ("gunicorn -b 0.0.0.0 shop:app", ["0.0.0.0:8000"]),
        ("uvicorn --port 80 shop:app", ["127.0.0.1:80"]),
        ("uvicorn --host :: shop:app", ["[::]:8000"]),
        ("uvicorn --uds /run/a.sock shop:app", ["unix:/run/a.sock"]),
        ("daphne -b 0.0.0.0 -p 8001 shop:app", ["0.0.0.0:8001"]),
    ],
)
def test_the_addresses_are_the_same(command: str, listen: list[str]) -> None:
    assert found(command).listen == listen


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        ("gunicorn -c conf.py shop:app", "--config conf.py: it is a program, and not read"),
        ("gunicorn -k gevent shop:app", "--worker-class gevent: it replaces parts of Python"),
        ("gunicorn --frobnicate shop:app", "--frobnicate: unknown option of gunicorn"),
        ("uvicorn --reload shop:app", "--reload: for development"),
        ("uvicorn --limit-concurrency 5 shop:app", "--limit-concurrency 5: its clients get a 503"),
        ("gunicorn --forwarded-allow-ips '*' shop:app", "--forwarded-allow-ips *: any client"),
        ("gunicorn -w $WORKERS shop:app", "--workers $WORKERS: a variable of the shell"),
        ("uvicorn --ssl-certfile a.pem shop:app", "expected its key in a file of its own"),
        (
            "sh -c 'python manage.py migrate && gunicorn shop:app'",
            "python manage.py migrate: only the last",
        ),
    ],
)
def test_an_option_without_equivalent_is_listed_with_the_reason(command: str, listed: str) -> None:
    assert any(listed in line for line in found(command).report())


@pytest.mark.parametrize(
    "command",
    [
        *(
            "",
            "python manage.py runserver",
            "puma",
            "gunicorn",
            "uvicorn shop",
            "gunicorn 'shop:app",
            "gunicorn -w",
        ),
        *("gunicorn 'shop:make(1)'", "/no/such/file", "flask run", "poetry install", "uvicorn --port 80"),
    ],
)
def test_a_command_of_no_known_server_or_without_an_app_is_refused(command: str) -> None:
    with pytest.raises((UsageError, UnitsError)):
        found(command)


def test_a_port_of_the_shell_has_to_be_said() -> None:
    with pytest.raises(UsageError, match=r"expected --listen ADDRESS: --bind 0\.0\.0\.0:\$PORT"):
        run("gunicorn -b 0.0.0.0:$PORT shop:app")
    assert run("gunicorn -b 0.0.0.0:$PORT shop:app", listen=["80"])
    assert found("gunicorn -b :${PORT:-5000} shop:app").listen == [":5000"]


def test_a_shell_that_changes_its_folder_is_followed() -> None:
    assert found("sh -c 'cd /opt/x && exec gunicorn shop:app'").folder == "/opt/x"


def test_an_option_wins_over_what_is_there() -> None:
    assert "--workers=8" in run("gunicorn -w 4 shop:app", workers="8")


def test_a_procfile_has_a_web_process(tmp_path: Path) -> None:
    file = tmp_path / "Procfile"
    file.write_text("# a comment\nrelease: ./migrate\nweb: gunicorn shop:app\nclock: python clock.py\n")
    name, carried = carrying.read(str(file), "/")

    assert (name, carried.app, carried.folder) == ("", "shop:app", str(tmp_path))
    assert [line.partition(":")[0] for line in carried.left] == ["release", "clock"]
    file.write_text("one: ./x\ntwo: ./y\n")
    with pytest.raises(UsageError, match="expected a line like `web: gunicorn shop:app`"):
        carrying.read(str(file), "/")


UNIT = """[Unit]
After=network.target postgresql.service gunicorn.socket
Requires=gunicorn.socket
[Service]
User={user}
Environment="A=100 %% sure" WEB_CONCURRENCY=3
Environment=GUNICORN_CMD_ARGS="--threads 2" "MORE=--max-requests 9"
WorkingDirectory=/srv/shop
RuntimeDirectory=gunicorn other
ExecStartPre=/bin/true
ExecStart=-/srv/shop/venv/bin/gunicorn --env B=%n \\
    # a comment
    $MORE -b unix:/run/gunicorn/shop.sock shop:app
KillMode=mixed
PrivateTmp=yes
MemoryMax=1G
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    (tmp_path / "gunicorn.service").write_text(UNIT.format(user="www-data"))
    return tmp_path / "gunicorn.service"


def test_a_unit_is_read_with_its_drop_ins(unit: Path) -> None:
    folder = unit.parent / "gunicorn.service.d"
    folder.mkdir()
    (folder / "a.conf").write_text("[Service]\nMemoryMax=\nMemoryMax=2G\n")
    name, carried = carrying.read(str(unit), "/")

    assert (name, carried.app, carried.user) == ("gunicorn", "shop:app", "www-data")
    assert (carried.folder, carried.venv) == ("/srv/shop", "/srv/shop/venv")
    assert carried.given["threads"] == "2"
    assert carried.given["workers"] == "3"
    assert carried.given["max_requests"] == "9"
    assert carried.environment == [("B", "gunicorn.service")]
    assert carried.options["Unit"] == [("After", "postgresql.service")]
    service = carried.options["Service"]
    assert ("MemoryMax", "2G") in service
    assert ("Environment", '"A=100 %% sure" WEB_CONCURRENCY=3') in service
    assert ("RuntimeDirectory", "other") in service
    assert ("WorkingDirectory", "/srv/shop") in service
    report = "\n".join(carried.report())
    assert "KillMode=mixed: the pair has its own" in report
    assert "PrivateTmp=yes: the pair has its own sandbox" in report
    assert "unix:/run/gunicorn.sock now" in report
    assert carried.listen == ["unix:/run/gunicorn.sock"]


def test_its_socket_units_win_over_the_command(unit: Path) -> None:
    socket = (
        "[Socket]\nListenStream=8001\nListenStream=/run/x.sock\nFileDescriptorName=http\nSocketGroup=web\n"
    )
    unit.with_suffix(".socket").write_text(socket)
    _, carried = carrying.read(str(unit), "/")

    assert carried.listen == ["http=8001", "http=/run/x.sock"]
    assert carried.socket_group == "web"
    assert carried.options["Unit"] == [("After", "postgresql.service")]


def test_a_service_of_root_becomes_one_without_privileges(unit: Path) -> None:
    unit.write_text(UNIT.format(user="root"))
    _, carried = carrying.read(str(unit), "/")

    assert carried.user == ""
    assert "it ran as root" in "\n".join(carried.report())


def test_a_unit_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no such unit"):
        carrying.read("none-of-that-name.service", "/")


def test_a_unit_is_found_by_its_name(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "SYSTEM", [str(unit.parent)])
    monkeypatch.chdir("/")

    assert carrying.read("gunicorn.service", "/")[1].app == "shop:app"


def test_a_template_stays_one(tmp_path: Path) -> None:
    command = "/srv/shop/venv/bin/gunicorn --bind unix:/run/shop-%i.sock shop:app"
    file = tmp_path / "shop@.service"
    file.write_text(f"[Service]\nExecStart={command}\nWorkingDirectory=/srv/%p\nMemoryMax=1G\n")
    wanted, _ = request.read([], {**OPTIONS, "source": str(file)})

    texts = {each.name: each.text() for each in writing.files(wanted)}
    assert list(texts) == ["shop@.socket", "shop@.service"]
    assert "\nListenStream=/run/shop-%i.sock\n" in texts["shop@.socket"]
    assert wanted.folder == "/srv/shop"
