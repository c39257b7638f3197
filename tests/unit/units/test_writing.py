"""Unit files: what is asked for stands in them, and what could not work is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sockact.errors import SettingsError, SockactError, UnitsError, UsageError
from sockact.systemd.unit_syntax import parse as assignments
from sockact.units.addresses import parse
from sockact.units.unit_text import UnitOption, UnitText
from sockact.units.wanted import Wanted
from sockact.units.writing import files


def wanted(*listen: str, **more: Any) -> Wanted:
    template = more.get("template", False)
    addresses = [parse(each, template=template) for each in listen or ("127.0.0.1:8000",)]
    usual = {"name": "shop", "apps": ["shop:app"], "venv": "/opt/shop/venv", "folder": "/opt/shop"}
    return Wanted(addresses=addresses, **usual | more)


def written(*listen: str, **more: Any) -> dict[str, dict[str, list[str]]]:
    """Return the values of each option of each file."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in files(wanted(*listen, **more)):
        options = found.setdefault(each.name, {})
        for option, value, *_ in assignments(each.text()):
            options.setdefault(option, []).append(value)
    return found


def of_service(option: str, *listen: str, **more: Any) -> list[str]:
    return written(*listen, **more)["shop.service"].get(f"Service.{option}", [])


def test_a_pair_is_two_files() -> None:
    assert list(written()) == ["shop.socket", "shop.service"]


def test_several_sockets_are_required_and_start_the_service() -> None:
    found = written("443", "unix:/run/shop.sock")

    assert found["shop.service"]["Unit.Requires"] == ["%N.socket %N-unix.socket"]
    assert found["shop-unix.socket"]["Socket.Service"] == ["shop.service"]
    assert "Socket.Service" not in found["shop.socket"]
    assert "Socket.NoDelay" not in found["shop-unix.socket"]


def test_the_sockets_of_a_template_start_the_instance_of_their_name() -> None:
    found = written("127.0.0.1:%i", "unix:/run/shop-%i.sock", template=True)

    assert list(found) == ["shop@.socket", "shop-unix@.socket", "shop@.service"]
    assert found["shop-unix@.socket"]["Socket.Service"] == ["shop@%i.service"]
    assert found["shop@.service"]["Unit.Requires"] == ["%N.socket %p-unix@%i.socket"]


@pytest.mark.parametrize(
    ("more", "command"),
    [
        ({}, "/opt/%p/venv/bin/sockact run --chdir=/opt/%p shop:app"),
        ({"given": {"workers": "4", "factory": True}}, "... --workers=4 --factory shop:app"),
        (
            {"given": {"env_file": ["/etc/a", "-/etc/b c"]}},
            '... --env-file=/etc/a "--env-file=-/etc/b c" shop:app',
        ),
        ({"apps": ["web=shop:app", "admin=shop:admin"]}, "... web=shop:app admin=shop:admin"),
        ({"folder": "/srv/100%/a b"}, '/opt/%p/venv/bin/sockact run "--chdir=/srv/100%%/a b" shop:app'),
        ({"given": {"version": "%n $HOME"}}, '... "--version=%%n $$HOME" shop:app'),
    ],
)
def test_the_command_line_is_the_one_of_sockact_run(more: dict[str, Any], command: str) -> None:
    whole = command.replace("...", "/opt/%p/venv/bin/sockact run --chdir=/opt/%p")

    assert of_service("ExecStart", **more) == [whole]


@pytest.mark.parametrize(("version", "lines"), [(248, 1), (253, 1), (254, 0), (262, 0)])
def test_the_store_is_told_where_systemd_does_not_do_it(version: int, lines: int) -> None:
    assert of_service("Environment", version=version).count("FDSTORE=4096") == lines


@pytest.mark.parametrize(
    ("given", "start", "stop"),
    [
        ({}, "90s", "60s"),
        ({"start_timeout": "5min"}, "330s", "60s"),
        ({"drain_timeout": "10min"}, "90s", "630s"),
        ({"drain_delay": "10s"}, "90s", "70s"),
        ({"drain_timeout": "none"}, "90s", "infinity"),
        ({"probation": "2min"}, "180s", "60s"),
    ],
)
def test_the_limits_of_systemd_are_above_those_of_sockact(given: Any, start: str, stop: str) -> None:
    assert of_service("TimeoutStartSec", given=given) == [start]
    assert of_service("TimeoutStopSec", given=given) == [stop]


def test_a_service_alone_is_stopped_with_all_its_processes() -> None:
    assert of_service("KillMode", given={"workers": "0"}) == ["mixed"]
    assert of_service("KillMode") == ["process"]


def test_users() -> None:
    assert of_service("DynamicUser") == ["yes"]
    assert of_service("User", user="alice") == ["alice"]
    assert of_service("DynamicUser", user="alice") == []


def test_a_proxy_that_is_known_by_its_user_is_seen() -> None:
    assert of_service("PrivateUsers", given={"trusted_proxies": ["uid=www-data"]}) == []
    assert of_service("PrivateUsers", given={"trusted_proxies": ["127.0.0.1"]}) == ["yes"]


def test_state_certificate_releases_and_variables_have_their_lines() -> None:
    found = written(
        state=True,
        certificate=("/etc/shop/a.crt", "/etc/ssl/a.key"),
        releases=["/opt/shop/current"],
        environment=[("A", "b c%")],
    )

    service = found["shop.service"]
    assert service["Service.StateDirectory"] == ["%N"]
    assert '"A=b c%%"' in service["Service.Environment"]
    assert (
        "cat /etc/%p/a.crt; echo; cat /etc/ssl/a.key"
        in found["shop.service.d/tls.conf"]["Service.ExecStartPre"][0]
    )
    assert found["shop-deploy.path"]["Path.PathChanged"] == ["/opt/shop"]
    assert "try-reload-or-restart shop.service" in found["shop-deploy.service"]["Service.ExecStart"][0]


def test_a_hardened_service_has_a_drop_in_that_allows_less() -> None:
    found = written(hardened=True, state=True)["shop.service.d/hardened.conf"]

    assert found["Service.RestrictAddressFamilies"] == ["", "AF_UNIX"]
    assert found["Service.NoExecPaths"] == ["/run/%N /var/cache/%N /var/lib/%N /tmp /var/tmp"]
    assert "shop.service.d/hardened.conf" not in written()


def test_the_temporary_folders_of_others_stay_read_only_in_it() -> None:
    """An option of its own would take them out of ProtectSystem=strict."""
    found = written(hardened=True, user="alice")["shop.service.d/hardened.conf"]

    assert found["Service.NoExecPaths"] == ["/run/%N /var/cache/%N"]


REFUSED: list[tuple[dict[str, Any], type[SockactError], str]] = [
    ({"name": "a b"}, UsageError, "--name 'a b'"),
    ({"name": "shop.service"}, UsageError, "expected shop, without an ending"),
    ({"name": "../x"}, UsageError, "--name"),
    ({"version": 247}, UsageError, "expected 248 or later"),
    ({"user": "root"}, UsageError, "an app needs none"),
    ({"environment": [("LD_PRELOAD", "/x.so")]}, UnitsError, "expected it in a file for --env-file"),
    ({"hardened": True, "of_user": True}, UsageError, "--hardened with --manager user"),
    ({"hardened": True, "image": "shop"}, UsageError, "--hardened with --quadlet"),
    ({"user": "a b"}, UsageError, "--user 'a b'"),
    ({"socket_group": "a b"}, UsageError, "--socket-group 'a b'"),
    ({"name": "a:b"}, UsageError, "--name 'a:b'"),
    ({"venv": "venv"}, UsageError, "expected an absolute path"),
    ({"folder": "/a\nb"}, UnitsError, "no control character"),
    ({"template": True}, UnitsError, "all instances would listen there"),
    ({"given": {"workers": "many"}}, SettingsError, "workers"),
    ({"certificate": ("/a b", "/c")}, UnitsError, "expected a path of letters"),
    ({"environment": [("A", "\x01")]}, UnitsError, "control character"),
]


@pytest.mark.parametrize(("more", "error", "text"), REFUSED)
def test_units_that_could_not_work_are_refused(more: Any, error: type[SockactError], text: str) -> None:
    with pytest.raises(error, match=text):
        files(wanted(**more))


@pytest.mark.parametrize(
    "path",
    [
        "/run/shop/web.sock",
        "/var/run/shop/web.sock",
        "/run//shop/a/b",
        "/run/./shop/a",
        "/run/private/shop/a",
    ],
)
def test_a_socket_in_the_runtime_directory_is_refused(path: str) -> None:
    with pytest.raises(UnitsError, match=r"expected a path elsewhere, as unix:/run/shop\.sock"):
        files(wanted(f"unix:{path}"))


@pytest.mark.parametrize("path", ["/run/shop.sock", "/run/shopping/a", "/run/a/shop/b", "/srv/run/shop/a"])
def test_a_socket_elsewhere_is_not(path: str) -> None:
    assert files(wanted(f"unix:{path}"))


def test_reasons_are_wrapped_and_lists_in_them_are_kept() -> None:
    why = "One two\nthree.\n\n  a list\n#Option=off"
    text = UnitText("a", "Head", [("Unit", [[UnitOption("A", "b", why)], []])], "Foot").text()

    assert text == "# Head\n\n[Unit]\n# One two three.\n#\n#   a list\n#Option=off\nA=b\n\n# Foot\n"


def container(**more: Any) -> dict[str, list[str]]:
    return written(image="localhost/shop", **more)["shop.container"]


def test_a_container_has_the_command_and_the_limits_of_the_service() -> None:
    found = container(
        given={"drain_timeout": "2min"}, environment=[("A", "${B} 100%")], user="alice", state=True
    )

    assert found["Container.Exec"] == [
        "sockact run --chdir=/opt/shop --control=/tmp/sockact.control --drain-timeout=2min shop:app"
    ]
    assert found["Container.PodmanArgs"] == ["--stop-timeout=150"]
    assert found["Service.TimeoutStopSec"] == ["160s"]
    # A word of the command line that podman's generator makes.
    assert found["Container.Environment"] == ['"A=$${B} 100%%"', "STATE_DIRECTORY=/var/lib/shop"]
    assert found["Container.Volume"] == ["%N-state:/var/lib/shop"]
    assert found["Container.User"] == ["alice"]
    assert found["Unit.Requires"] == ["%N.socket"]


@pytest.mark.parametrize(
    "more",
    [{"releases": ["/a"]}, {"certificate": ("/a", "/b")}, {"template": True}],
    ids=lambda more: str(*more),
)
def test_a_container_cannot_have_everything(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="with --quadlet: expected a service without a container"):
        container(**more) if "template" not in more else written("127.0.0.1:%i", image="a", **more)


def test_a_socket_whose_group_is_set_waits_for_the_ports() -> None:
    found = written("80", "unix:/run/a", "udp:53", socket_group="web")

    assert found["shop-unix.socket"]["Unit.After"] == ["shop.socket shop-udp.socket"]
    assert "Unit.After" not in found["shop.socket"]
    assert "Unit.After" not in written("80", "unix:/run/a")["shop-unix.socket"]
    assert "Unit.After" not in written("unix:/run/a", socket_group="web")["shop.socket"]


def test_a_users_manager_gets_no_line_that_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockact.units.wanted._first_port", lambda: 1024)
    found = written("8000", "unix:/run/user/1/a.sock", of_user=True)["shop.service"]

    assert not any(
        "+" in command for option, commands in found.items() if "Exec" in option for command in commands
    )
    assert not {"DynamicUser", "ProtectSystem", "PrivateUsers"} & {name.partition(".")[2] for name in found}
    assert found["Service.KillMode"] == ["mixed"]
    assert found["Service.NoNewPrivileges"] == ["yes"]


def test_a_users_manager_opens_no_privileged_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockact.units.wanted._first_port", lambda: 1024)
    with pytest.raises(UnitsError, match=r"from 1024 on: .*ip_unprivileged_port_start=443"):
        files(wanted("443", of_user=True))
    monkeypatch.setattr("sockact.units.wanted._first_port", lambda: 443)
    assert files(wanted("443", of_user=True))


@pytest.mark.parametrize(
    "more",
    [
        {"user": "alice"},
        {"socket_group": "web"},
        {"releases": ["/a"]},
        {"certificate": ("/a", "/b")},
        {"image": "a"},
    ],
    ids=lambda more: str(*more),
)
def test_a_users_manager_cannot_do_everything(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="with --manager user: expected the system's manager"):
        files(wanted(of_user=True, **more))


def test_a_socket_in_a_users_runtime_directory_is_refused() -> None:
    with pytest.raises(UnitsError, match="expected a path elsewhere"):
        files(wanted("unix:/run/user/1000/shop/a.sock", of_user=True))


def test_options_of_an_existing_socket_stay_with_their_kind() -> None:
    carried = {"Socket": [("SocketUser", "web"), ("SocketMode", "0600"), ("BindToDevice", "eth0")]}
    found = written("80", "unix:/run/a", carried=carried)

    assert found["shop.socket"]["Socket.BindToDevice"] == ["eth0"]
    assert "Socket.SocketUser" not in found["shop.socket"]
    assert found["shop-unix.socket"]["Socket.SocketMode"] == ["0600"]
    assert found["shop-unix.socket"]["Unit.After"] == ["shop.socket"]
    assert "Socket.BindToDevice" not in found["shop-unix.socket"]
