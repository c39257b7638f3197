"""Environment files are read as systemd reads them; tests/machine/test_env_file.py asks systemd itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockact.config.envfile import parse, read
from sockact.errors import SettingsError
from tests.support.envfile import SAMPLE, VALUES


def test_a_file_is_read_as_systemd_reads_it() -> None:
    assert parse(SAMPLE, "app.env") == VALUES


def test_lines_may_end_as_on_other_systems() -> None:
    assert parse("A=1\r\nB='2'\r\n\r\n# c\r\nC=3", "app.env") == {"A": "1", "B": "2", "C": "3"}


def test_an_empty_file_says_nothing() -> None:
    assert parse("", "app.env") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A=1\nB='never closed\nC=2\n", "app.env, line 2: the value of B has no end"),
        ('A="never closed', "app.env, line 1: the value of A has no end"),
        ("A=goes on\\", "app.env, line 1: the value of A has no end"),
        ("A=\0", "app.env, line 1: the value of A has no end, or a NUL in it"),
        ("# c\n\nA", "app.env, line 3: expected NAME=value or a comment"),
        ("export A=1", "app.env, line 1: expected NAME=value or a comment"),
        ("1A=1", "app.env, line 1: expected NAME=value or a comment"),
        ("\ufeffA=1", "app.env, line 1: expected NAME=value or a comment"),
        ("SOCKACT_LINGER=3", "app.env, line 1: SOCKACT_LINGER is not the app's variable"),
        ("LISTEN_FDS=3", "app.env, line 1: LISTEN_FDS is not the app's variable"),
        ("NOTIFY_SOCKET=/x", "app.env, line 1: NOTIFY_SOCKET is not the app's variable"),
    ],
)
def test_what_cannot_be_a_whole_file_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(text, "app.env")
    assert str(raised.value).startswith(reason)


def test_names_that_merely_begin_like_those_of_systemd_are_the_apps() -> None:
    assert parse("LISTEN_PORT=1\nNOTIFY_SOCKETS=2", "app.env") == {
        "LISTEN_PORT": "1",
        "NOTIFY_SOCKETS": "2",
    }


def test_the_last_value_counts_and_a_file_may_be_missing_only_if_that_was_said(tmp_path: Path) -> None:
    first, second, missing = (str(tmp_path / name) for name in ("first", "second", "missing"))
    Path(first).write_text("A=1\nB=1\n")
    Path(second).write_text("B=2\nB=3\n")

    assert read((first, f"-{missing}", second)) == {"A": "1", "B": "3"}
    with pytest.raises(SettingsError, match="missing': No such file or directory"):
        read((first, missing))


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"A=\xff\n")

    with pytest.raises(SettingsError, match=r"binary': expected UTF-8"):
        read((str(tmp_path / "binary"),))
    with pytest.raises(SettingsError, match="Is a directory"):
        read((f"-{tmp_path}",))
