"""Command lines are understood through prefixes, wrappers and shells."""

from __future__ import annotations

import pytest

from sockact.check import command
from sockact.systemd.unit_syntax import Assignment


def read(text: str) -> command.CommandLine:
    return command.read(Assignment("Service.ExecStart", text), lambda word: word)


@pytest.mark.parametrize(
    ("text", "server", "stays"),
    [
        ("/opt/app/venv/bin/sockact run app:app", "sockact", ""),
        ("/opt/app/venv/bin/sockact reload", None, ""),
        ("/usr/bin/python3 -m sockact run app:app", "sockact", ""),
        ("/venv/bin/python3.13 -Im uvicorn app:app", None, ""),
        ("/venv/bin/python3.13 -m uvicorn.main app:app", "uvicorn", ""),
        ("-@/usr/bin/gunicorn name app:app", "gunicorn", ""),
        ("/usr/bin/env -i PATH=/bin A=b /usr/bin/gunicorn app:app", "gunicorn", ""),
        ("/usr/bin/env --block-signal=TERM /opt/sockact run a:b", "sockact", ""),
        ("/usr/local/bin/bundle exec puma -C x", "puma", ""),
        ("/usr/bin/uv run --frozen gunicorn app:app", "gunicorn", "uv"),
        ("/usr/bin/poetry run uvicorn app:app", "uvicorn", ""),
        ("/usr/bin/sudo -u web -E gunicorn app:app", "gunicorn", "sudo"),
        ("/bin/sh -c 'exec gunicorn app:app'", "gunicorn", ""),
        ("/bin/sh -c 'cd /srv; . ./env && exec gunicorn app:app'", "gunicorn", ""),
        ("/bin/sh -c 'gunicorn app:app'", "gunicorn", "sh"),
        ("/bin/bash -lc 'gunicorn app:app || echo failed'", "gunicorn", "bash"),
        ("/bin/sh -c \"echo it's open", None, ""),
        ("/bin/sh -c", None, ""),
        ("/usr/bin/env", None, ""),
        ("/usr/sbin/nginx -g 'daemon off;'", None, ""),
        ("", None, ""),
    ],
)
def test_the_server_in_a_command_line_is_known(text: str, server: str | None, stays: str) -> None:
    found = read(text)

    assert (found.facts.name if found.facts else None, found.stays if found.facts else "") == (
        server,
        stays,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gunicorn --bind :80 a:b", ":80"),
        ("gunicorn --bind=:80 a:b", ":80"),
        ("gunicorn -b :80 a:b", ":80"),
        ("gunicorn --bind", ""),
        ("gunicorn --bind --daemon", ""),
        ("gunicorn --binding=1", None),
    ],
)
def test_an_option_of_the_server_is_read_in_its_forms(text: str, value: str | None) -> None:
    assert read(text).option("--bind", "-b") == value


def test_a_command_that_wraps_itself_for_ever_ends() -> None:
    assert read("env " * 100 + "gunicorn a:b").facts is None
