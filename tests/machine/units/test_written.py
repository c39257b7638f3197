"""`sockact units` on a machine: what it writes is started, and serves through restarts and reloads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import LOAD_APP, wait_until

FOLDER = "/etc/systemd/system"
SOCKACT = "/opt/app/venv/bin/sockact"
PORT = 8050
ODD = "/opt/my shop 100%"
"""A folder with what a unit file has a meaning for."""

WSGI = """
import json, os

VERSION = "1"

def app(environ, start_response):
    shown = {"version": VERSION, "pid": os.getpid(), "odd": os.environ.get("ODD"),
             "state": os.environ.get("STATE_DIRECTORY"), "scheme": environ["wsgi.url_scheme"]}
    body = json.dumps(shown).encode()
    fields = [("content-type", "application/json"), ("content-length", str(len(body))),
              ("x-version", VERSION), ("x-pid", str(os.getpid()))]
    start_response("200 OK", fields)
    return [body]
"""
VALUE = "a \"quoted\" 'value' with $HOME, 100 % and \\ ünïcödé"
LOADS = ("one-shot:4@30", "persistent:4@20", "pause:2@2,pause=0.2")


@pytest.fixture
def shop(app: Machine) -> Iterator[Machine]:
    """Give a machine with two apps called shop, of which nothing is left afterwards."""
    for folder, code in (("/opt/shop", LOAD_APP), (ODD, WSGI)):
        app.write(f"{folder}/shop.py", code)
        app.run("ln", "-s", "/opt/app/venv", f"{folder}/venv")
    app.run("useradd", "shopkeeper")
    yield app
    app.run("sh", "-c", "systemctl stop 'shop*.path' 'shop*.socket' 'shop*.service'")
    app.run(
        "sh",
        "-c",
        f"rm -rf {FOLDER}/shop* {FOLDER}/*/shop* /opt/shop '{ODD}' /home/shop",
    )
    app.run("rm", "-f", "/usr/local/sbin/sockact-settle")
    app.run("userdel", "shopkeeper")
    app.run("systemctl", "daemon-reload")
    app.run("sh", "-c", "systemctl reset-failed 'shop*' 2>/dev/null || :")


def units(machine: Machine, *words: str, check: bool = True) -> CompletedProcess[str]:
    """Run `sockact units` for the app of the load tests."""
    return machine.run(SOCKACT, "units", *words, check=check)


def ask(machine: Machine, *options: str, url: str = f"http://127.0.0.1:{PORT}/") -> str:
    return machine.run("curl", "-sSf", "--max-time", "30", *options, url).stdout


def change(machine: Machine, folder: str, version: int) -> None:
    machine.run("sed", "-i", f's/^VERSION = .*/VERSION = "{version}"/', f"{folder}/shop.py")


def test_a_wsgi_app_in_an_odd_folder_is_served_and_loses_nothing(shop: Machine) -> None:
    said = units(
        shop,
        *("shop:app", "--chdir", ODD, "--listen", f"127.0.0.1:{PORT}", "--env", f"ODD={VALUE}", "--state"),
        *(
            "--name",
            "shop",
            "--workers",
            "2",
            "--probation",
            "0.1s",
            "--keep-alive",
            "1h",
            "--install",
            "--now",
        ),
    )

    assert "shop.service is started" in said.stdout
    answer = json.loads(ask(shop))
    assert answer["odd"] == VALUE
    assert answer["state"] == "/var/lib/shop"
    with load(shop, *LOADS, port=PORT) as probe:
        for version, verb in enumerate(["reload", "restart", "reload", "restart"], start=2):
            change(shop, ODD, version)
            shop.run("systemctl", verb, "shop.service")
        assert_nothing_lost(probe.report())
    assert '"version": "5"' in ask(shop)


def test_a_hardened_asgi_app_of_a_user_is_served_on_several_sockets(shop: Machine) -> None:
    units(
        shop,
        *(
            "shop:app",
            "--chdir",
            "/opt/shop",
            "--listen",
            f"127.0.0.1:{PORT}",
            "--listen",
            "unix:/run/shop.sock",
        ),
        *("--listen", "admin=127.0.0.1:8051", "--socket-group", "www-data", "--user", "shopkeeper"),
        *("--probation", "0.1s", "--keep-alive", "1h", "--hardened", "--install", "--now"),
    )

    assert "version" in ask(shop)
    assert "version" in ask(shop, url="http://127.0.0.1:8051/")
    assert "version" in ask(shop, "--unix-socket", "/run/shop.sock")
    assert shop.run("stat", "-c", "%G %a", "/run/shop.sock").stdout == "www-data 660\n"
    assert shop.show("shop.service", "User")["User"] == "shopkeeper"
    with load(shop, port=PORT) as probe:
        for version, verb in enumerate(["reload", "restart", "reload", "restart"], start=2):
            change(shop, "/opt/shop", version)
            shop.run("systemctl", verb, "shop.service")
        assert_nothing_lost(probe.report())
    shop.run("systemctl", "restart", "shop.socket", "shop-unix.socket", "shop-admin.socket")
    assert "version" in ask(shop, "--unix-socket", "/run/shop.sock")


def test_systemd_has_nothing_to_say_against_what_is_written(shop: Machine) -> None:
    said = units(
        shop,
        *("shop:app", "--chdir", "/opt/shop", "--listen", "443", "--listen", "unix:/run/shop.sock"),
        *(
            "--listen",
            "udp:5353",
            "--listen",
            "192.0.2.1:80",
            "--deploy-path",
            "/opt/shop/current",
            "--state",
        ),
        *("--tls", "/etc/shop/tls.crt", "/etc/shop/tls.key", "--output", "/tmp/units"),
    )
    try:
        assert said.stderr.replace("is not on this machine", "").count("sockact:") == 2, said.stderr
    finally:
        shop.run("rm", "-rf", "/tmp/units")


def test_a_file_with_another_content_is_shown_and_kept(shop: Machine) -> None:
    wish = ("shop:app", "--chdir", "/opt/shop", "--listen", str(PORT), "--install")
    units(shop, *wish)
    shop.write(f"{FOLDER}/shop.socket", "[Socket]\nListenStream=1\n")
    refused = units(shop, *wish, check=False)

    assert refused.returncode == 78
    assert "-ListenStream=1\n" in refused.stdout
    assert f"+ListenStream={PORT}\n" in refused.stdout
    assert "nothing is written without --force" in refused.stderr
    assert shop.read(f"{FOLDER}/shop.socket") == "[Socket]\nListenStream=1\n"
    units(shop, *wish, "--force")
    assert f"ListenStream={PORT}\n" in shop.read(f"{FOLDER}/shop.socket")
    assert "shop.socket: unchanged" in units(shop, *wish).stdout


def test_an_app_that_does_not_start_is_told_with_the_reason(shop: Machine) -> None:
    shop.write("/opt/shop/shop.py", "import nothing_of_that_name\n")
    failed = units(
        shop, "shop:app", "--chdir", "/opt/shop", "--listen", str(PORT), "--install", "--now", check=False
    )

    assert failed.returncode == 69
    assert "No module named 'nothing_of_that_name'" in failed.stderr
    assert "journalctl -u shop.socket -u shop.service" in failed.stderr


def test_an_address_in_use_is_told_with_the_reason(shop: Machine) -> None:
    wish = ("shop:app", "--chdir", "/opt/shop", "--listen", f"127.0.0.1:{PORT}", "--install", "--now")
    units(shop, *wish, "--name", "shop-old")
    failed = units(shop, *wish, check=False)

    assert failed.returncode == 69
    assert f"Failed to create listening socket (127.0.0.1:{PORT}): Address already in use" in failed.stderr


def test_an_environment_that_the_service_cannot_reach_is_refused(shop: Machine) -> None:
    """The refusal is right: systemd does not start such a service."""
    shop.run("sh", "-c", "mkdir -p /home/shop && cp -a /opt/app/venv /home/shop/venv")
    wish = ("shop:app", "--chdir", "/opt/shop", "--listen", f"127.0.0.1:{PORT}")
    refused = units(shop, *wish, "--venv", "/home/shop/venv", "--install", check=False)

    assert refused.returncode == 78
    assert "/home/shop/venv/bin/python" in refused.stderr
    assert "in /home, which the service cannot see (ProtectHome=yes)" in refused.stderr
    units(shop, *wish, "--install")
    unit = shop.read(f"{FOLDER}/shop.service")
    shop.write(f"{FOLDER}/shop.service", unit.replace("/opt/%p/venv", "/home/shop/venv"))
    shop.run("systemctl", "daemon-reload")
    assert shop.run("systemctl", "start", "shop.service", check=False).returncode != 0


def test_a_release_that_is_switched_is_reloaded(shop: Machine) -> None:
    shop.run(
        "sh", "-c", "cd /opt/shop; mkdir -p releases/1; mv shop.py releases/1; ln -s releases/1 current"
    )
    units(
        shop,
        *("shop:app", "--chdir", "/opt/shop/current", "--venv", "/opt/shop/venv", "--listen", str(PORT)),
        *("--deploy-path", "/opt/shop/current", "--probation", "0.1s", "--install", "--now"),
    )
    assert '"version": "1"' in ask(shop)
    shop.run("sh", "-c", "cd /opt/shop; cp -r releases/1 releases/2; ln -sT releases/2 new")
    change(shop, "/opt/shop/releases/2", 2)
    shop.run("mv", "-T", "/opt/shop/new", "/opt/shop/current")

    wait_until(lambda: '"version": "2"' in ask(shop))


def test_instances_of_a_template_serve_side_by_side(shop: Machine) -> None:
    units(shop, "shop:app", "--chdir", "/opt/shop", "--template", "--listen", "127.0.0.1:%i", "--install")
    shop.run("systemctl", "start", "shop@8061.socket", "shop@8062.socket")

    for port in (8061, 8062):
        assert "version" in ask(shop, url=f"http://127.0.0.1:{port}/")
        assert "main pid" in shop.run(SOCKACT, "status", f"shop@{port}").stdout


def test_a_certificate_of_roots_is_served(shop: Machine) -> None:
    shop.run("mkdir", "-p", "/etc/shop")
    shop.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=shop", "-keyout", "/etc/shop/tls.key", "-out", "/etc/shop/tls.crt"),
    )
    shop.run("chmod", "600", "/etc/shop/tls.key", "/etc/shop/tls.crt")
    units(
        shop,
        *(
            "shop:app",
            "--chdir",
            "/opt/shop",
            "--listen",
            str(PORT),
            "--listen",
            "http=8051",
            "--user",
            "shopkeeper",
        ),
        *(
            "--redirect-http",
            str(PORT),
            "--tls",
            "/etc/shop/tls.crt",
            "/etc/shop/tls.key",
            "--install",
            "--now",
        ),
    )

    assert "version" in ask(shop, "-k", url=f"https://127.0.0.1:{PORT}/")
    moved = shop.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8051/").stdout
    assert moved.startswith("30")
    shop.run("systemctl", "reload", "shop.service")
    shop.run("rm", "-rf", "/etc/shop")


GUNICORN = """
[Unit]
Description=gunicorn daemon
Requires=shop.socket
After=network.target

[Service]
Type=notify
User=shopkeeper
RuntimeDirectory=shop
WorkingDirectory=/opt/my shop 100%%
Environment="ODD=100 %% sure" OTHER=1
ExecStart="/opt/my shop 100%%/venv/bin/gunicorn" --workers 2 --preload --access-logfile - shop:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
MemoryMax=500M

[Install]
WantedBy=multi-user.target
"""


def test_a_unit_of_gunicorn_becomes_a_pair_that_serves_the_same(shop: Machine) -> None:
    shop.write("/root/old/shop.service", GUNICORN)
    shop.write("/root/old/shop.socket", "[Socket]\nListenStream=/run/shop.sock\nSocketMode=0600\n")
    said = units(shop, "--from", "/root/old/shop.service", "--install", "--now")

    assert "--preload: preload: a reload imports the app anew" in said.stderr
    answer = ask(shop, "--unix-socket", "/run/shop.sock", "-H", "X-Forwarded-Proto: https")
    assert '"odd": "100 % sure"' in answer
    assert '"scheme": "https"' in answer  # as gunicorn trusts who may write to a Unix socket
    assert shop.run("stat", "-c", "%a", "/run/shop.sock").stdout == "600\n"
    shown = shop.show("shop.service", "User", "MemoryMax")
    assert shown == {"User": "shopkeeper", "MemoryMax": str(500 << 20)}
    shop.run("rm", "-rf", "/root/old")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_service_gets_a_user_of_its_own_later(shop: Machine, running: bool) -> None:
    """Systemd leaves a link in /run of a dynamic user's folder, which would be in the way."""
    wish = ("shop:app", "--chdir", ODD, "--name", "shop", "--listen", f"127.0.0.1:{PORT}", "--state")
    units(shop, *wish, "--install", "--now")
    shop.run("sh", "-c", "echo kept >/var/lib/shop/data")
    if not running:
        shop.run("systemctl", "stop", "shop.socket", "shop.service")
    said = units(shop, *wish, "--user", "shopkeeper", "--install", "--now", "--force")

    assert f"shop.service is {'restarted' if running else 'started'}" in said.stdout
    assert json.loads(ask(shop))["state"] == "/var/lib/shop"
    assert shop.read("/var/lib/shop/data") == "kept\n"
    owner = shop.run("stat", "-c", "%U", "/var/lib/shop/data").stdout
    assert owner == "shopkeeper\n"
