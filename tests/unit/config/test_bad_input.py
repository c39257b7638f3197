"""Files and settings that nobody meant: each is an error that names it, at once and without a traceback."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sockact.config import envfile, pyproject, settings
from sockact.engines.http.forwarded import Proxies
from sockact.errors import SettingsError
from sockact.untrusted import files

PATIENCE = 5.0
"""Seconds of CPU: far too many for a file of 1 MiB, far too few for a quadratic reading of it."""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def loop(path: Path) -> None:
    path.symlink_to(path)


NO_FILES = [fifo, endless, listening, large, loop, Path.mkdir]


@pytest.mark.parametrize("make", NO_FILES)
def test_an_environment_file_that_is_no_file_is_refused_at_once(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "app.env")

    with pytest.raises(SettingsError, match=r"^env_file='.*app\.env': \w"):
        envfile.read((str(tmp_path / "app.env"),))


@pytest.mark.parametrize("make", NO_FILES)
def test_a_project_file_that_is_no_file_is_refused_at_once(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "pyproject.toml")

    with pytest.raises(SettingsError, match=r"pyproject\.toml: \w"):
        pyproject.resolve({"chdir": str(tmp_path)}, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody who may read less")
def test_a_project_file_that_may_not_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.sockact]\nworkers = 3\n")
    path.chmod(0)
    tmp_path.chmod(0o755)
    child = os.fork()
    if not child:  # pragma: no cover - another process
        os.chdir(tmp_path)
        os.seteuid(65534)
        try:
            pyproject.table("pyproject.toml")
        except SettingsError as error:
            os._exit("Permission denied" not in str(error))
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_where_there_is_no_project_there_are_no_settings_of_it(tmp_path: Path) -> None:
    assert pyproject.table(str(tmp_path / "pyproject.toml")) == {}
    assert pyproject.table("/dev/null/pyproject.toml") == {}


@pytest.mark.parametrize(
    "text",
    [
        "[tool.sockact]\nworkers = 3",
        "[ tool . sockact ]\nworkers = 3",
        "[tool.'sockact']\nworkers = 3",
        '["tool"."sockact"]\nworkers = 3',
        "[tool]\nsockact = { workers = 3 }",
        "[tool]\nsockact.workers = 3",
        "tool = { sockact = { workers = 3 } }",
        "tool.sockact.workers = 3",
    ],
)
def test_a_projects_table_is_found_in_any_spelling(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    assert pyproject.table(str(tmp_path / "pyproject.toml")) == {"workers": 3}


def test_a_file_may_be_as_large_as_all_that_a_process_may_get(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * files.SIZE_LIMIT)

    assert len(files.read(path)) == files.SIZE_LIMIT
    path.write_bytes(b"x" * (files.SIZE_LIMIT + 1))
    with pytest.raises(OSError, match="larger than 1,048,576 bytes"):
        files.read(path)


@pytest.mark.parametrize(
    ("part", "repeated"),
    [
        ("A=1\n", 250_000),  # many assignments
        ("\n", 1_000_000),
        ("A='1'\\\n\n", 100_000),
        ("# c\nA{0}=x y \n", 60_000),
    ],
)
def test_the_time_for_an_environment_file_grows_as_the_file_does(part: str, repeated: int) -> None:
    text = "".join(part.format(number) for number in range(repeated))[: files.SIZE_LIMIT]
    text = text[: text.rfind("\n") + 1]

    began = time.process_time()
    envfile.parse(text, "app.env")

    assert time.process_time() - began < PATIENCE


@pytest.mark.parametrize(
    "text",
    [
        "A=" + "''" * 60_000,
        "A=" + "x " * 60_000,
        "A=x" + " " * 1_000_000 + "\n",
        "A=" + "\\\n" * 60_000 + "x",
        "A=" + '"\\"' * 40_000,
        'A="' + "x" * 1_000_000,
        "A='" + "x" * 1_000_000,
        " " * 1_000_000 + "=",
        "A" * 1_000_000,
        "A" + " " * 1_000_000,
        "A=x\\" + "\\" * 100_000,
        "A=" + "' '" * 40_000 + '"',
    ],
)
def test_no_line_of_an_environment_file_takes_long(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(SettingsError):
        envfile.parse(text, "app.env")

    assert time.process_time() - began < PATIENCE


def test_an_error_far_down_names_its_line() -> None:
    with pytest.raises(SettingsError, match=r"^app\.env, line 100001: expected NAME=value"):
        envfile.parse("A=1\n" * 100_000 + "oops", "app.env")


def test_a_variable_that_no_process_could_be_given_is_refused(tmp_path: Path) -> None:
    most = "A=" + "x" * (envfile.MAX_ASSIGNMENT_BYTES - 2)
    (tmp_path / "app.env").write_text(most)

    assert envfile.read((str(tmp_path / "app.env"),)) == {"A": "x" * (envfile.MAX_ASSIGNMENT_BYTES - 2)}
    assert os.spawnvpe(os.P_WAIT, "true", ["true"], {**os.environ, "A": most.removeprefix("A=")}) == 0
    with pytest.raises(SettingsError, match=r"^app\.env, line 2: A has more than 131,071 bytes"):
        envfile.parse("\n" + most + "x", "app.env")
    with pytest.raises(SettingsError, match="A has more than"):
        envfile.parse("A=" + "é" * (envfile.MAX_ASSIGNMENT_BYTES // 2), "app.env")


@pytest.mark.parametrize(
    "text",
    [
        "tool = 1 # tool.sockact",
        "tool = [1] # tool.sockact",
        "tool = 'tool.sockact'",
        "[tool]\nsockact = 1 # tool.sockact",
        "[[tool.sockact]]\nworkers = 3",
        "tool.sockact = 3",
        "tool.sockact = []",
        "[tool.sockact]\nworkers = " + "[" * 100_000,
        "[tool.sockact]\nworkers = " + "{a=" * 10_000,
        "[tool.sockact]\nworkers = 1" + "0" * 5000,
        "[tool.sockact]\nworkers = 3\nworkers = 4",
        "[tool.sockact",
        "[tool.sockact]\n\0",
        "[tool.sockact]\nworkers = '3",
    ],
)
def test_a_project_that_makes_no_sense_is_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(SettingsError, match=r"pyproject\.toml: ") as raised:
        pyproject.resolve({"chdir": str(tmp_path)}, {})
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "data", [b"[tool.sockact]\nversion = '\xff'", b"\xff\xfe[tool.sockact]", b"[tool.sockact]\n\xc3"]
)
def test_a_project_that_is_no_text_is_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(data)

    with pytest.raises(SettingsError, match=r"pyproject\.toml: "):
        pyproject.resolve({"chdir": str(tmp_path)}, {})


@pytest.mark.parametrize(
    "value",
    [
        "{}",
        "{a.b.c = 1}",
        "1979-05-27T07:32:00Z",
        "07:32:00",
        "nan",
        "-inf",
        "-1",
        "[[]]",
        "[1, 'a']",
        "['\\u0000']",
        "'\\u0000'",
        "[" * 300 + "]" * 300,
        pytest.param("'''" + "x" * 100_000 + "\\n'''", marks=pytest.mark.slow),
        pytest.param(".".join("a" * 2000), marks=pytest.mark.slow),  # a table of tables
    ],
    ids=lambda value: value[:12],
)
def test_a_value_of_any_type_is_taken_or_refused_with_its_name(value: str, tmp_path: Path) -> None:
    errors: dict[str, str] = {}
    for name in settings.FIELDS:
        text = f"{name}.{value} = 1" if value.startswith("a.a") else f"{name} = {value}"
        (tmp_path / "pyproject.toml").write_text(f"[tool.sockact]\n{text}\n")
        try:
            pyproject.resolve({"chdir": str(tmp_path)}, {})
        except SettingsError as error:
            errors[name] = str(error)
    assert len(errors) > 20  # a few take it
    assert all(name in error and len(error) < 1000 for name, error in errors.items())


def test_no_setting_has_a_nul() -> None:
    for name in settings.FIELDS:
        for given in ({name: "a\0b"}, {name: ["a\0b"]}):
            with pytest.raises(SettingsError, match=rf"^{name}="):
                settings.resolve(given, {})


def test_a_keyword_that_cannot_even_be_shown_is_refused_with_its_name() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for value in (Broken(), nested, 10**5000):
        with pytest.raises(SettingsError, match=r"^linger="):
            settings.resolve({"linger": value}, {})


@pytest.mark.parametrize("name", ["workers", "threads", "max_draining", "surge"])
def test_one_digit_too_many_does_not_cost_the_machine(name: str) -> None:
    assert getattr(settings.resolve({name: settings.MAX_PROCESSES}, {}), name) == settings.MAX_PROCESSES
    for given, environ in (
        ({name: 100_000}, {}),
        ({name: "100000"}, {}),
        ({}, {settings.variable(name): "100000"}),
    ):
        with pytest.raises(SettingsError, match=rf"^{name}=100000: expected at most 1024$"):
            settings.resolve(given, environ)


@pytest.mark.parametrize(
    "value",
    [10**19, 10**400, 10**5000, 1e300, "9" * 30, "9" * 5000, "99999999T"],
    ids=["19", "400", "5000", "float", "text", "long text", "size"],
)
def test_no_number_is_larger_than_what_the_clocks_and_the_kernel_take(value: object) -> None:
    for name, field in settings.FIELDS.items():
        numeric = isinstance(field.default, int | float) and not isinstance(field.default, bool)
        if numeric or field.metadata["parse"] is settings.seconds_or_none:
            with pytest.raises(SettingsError, match=rf"^{name}="):
                settings.resolve({name: value}, {})


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Trailer",
        "TE",
        "Date",
        "Set-Cookie",
        "Location",
        "Content-Type",
        "Retry-After",
        "Cache-Control",
        "Sec-WebSocket-Accept",
        "Access-Control-Allow-Origin",
        "Proxy-Authenticate",
        "X-Version:",
        "X Version",
        "X-Version\r\nSet-Cookie: a=b",
        "X-Versi\N{LATIN SMALL LETTER O WITH DIAERESIS}n",
        "x" * 1000,
    ],
)
def test_the_version_is_told_in_no_field_that_means_something_else(name: str) -> None:
    for written in (name, name.lower(), name.upper()):
        with pytest.raises(SettingsError, match=r"^version_header="):
            settings.resolve({"version_header": written}, {})


@pytest.mark.parametrize("name", ["X-Version", "x-app-version", "Server", "Version", ""])
def test_the_version_is_told_in_a_field_of_the_services_own(name: str) -> None:
    assert settings.resolve({"version_header": name}, {}).version_header == name


@pytest.mark.parametrize(
    "text", ["1\r\nSet-Cookie: a=b", "1\n", "1\r", "ü", "\N{SNOWMAN}", "\x1b[2J", "\x7f", "\t", "x" * 257]
)
def test_a_version_is_a_line_that_any_header_can_hold(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^version="):
        settings.resolve({"version": text}, {})


@pytest.mark.parametrize("value", [3, b"/srv", ["/srv"], "a\0b", "\0", object(), Path("a\0b")])
def test_a_directory_that_is_no_path_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(SettingsError, match=r"^chdir="):
        pyproject.resolve({"chdir": value}, {})


def test_a_proxy_whose_user_nobody_can_be_is_refused() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None: ...

    for name in ("9" * 5000, "no-such-user", "", "\udcff"):
        with pytest.raises(SettingsError, match=r"^trusted_proxies=uid="):
            Proxies((f"uid={name}",))
