"""Options of other servers are answered by what they are called here."""

from __future__ import annotations

import pytest

from sockact.cli import foreign_options
from sockact.config.settings import FIELDS
from sockact.units.servers import SERVERS, RequestPart

KNOWN = ["--" + name.replace("_", "-") for name in FIELDS]


@pytest.mark.parametrize("server", SERVERS.values(), ids=lambda server: server.name)
def test_each_option_of_a_server_has_an_answer(server: object) -> None:
    for option in server.options:  # type: ignore[attr-defined]
        for name in option.names.split():
            answer = foreign_options.explain(name, {name: ""}, KNOWN)
            assert answer, name
            named = answer.partition(": here it is --")[2].split(" ")[0].rstrip(",")
            assert not named or f"--{named.removeprefix('no-')}" in KNOWN, name


def test_each_part_has_words() -> None:
    parts = {
        option.meaning.name
        for server in SERVERS.values()
        for option in server.options
        if isinstance(option.meaning, RequestPart)
    }

    assert parts - {"host", "port"} == set(foreign_options.PARTS)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"--bind": "0.0.0.0:80"}, ": here it is --listen 0.0.0.0:80"),
        ({"--host": "0.0.0.0", "--port": "80"}, ": here it is --listen 0.0.0.0:80"),
        ({"--port": "80"}, ": here it is --listen 127.0.0.1:80"),
        ({"--host": "::1"}, ": here it is --listen [::1]:8000"),
        ({"--graceful-timeout": "30"}, ": here it is --drain-timeout 30"),
        ({"--uds": "/run/x"}, ": here it is --listen unix:PATH"),
        ({"--reload": ""}, ": `sockact dev` reloads when a file changes"),
        ({"--daemon": ""}, ": systemd does that"),
        ({"--nonsense": ""}, ""),
    ],
)
def test_an_answer_has_the_value_that_was_given(values: dict[str, str], answer: str) -> None:
    assert foreign_options.explain(next(iter(values)), values, KNOWN) == answer


def test_a_command_that_serves_no_app_has_nothing_to_say() -> None:
    assert foreign_options.explain("--host", {"--host": "x"}, ["--user"]) == ""
