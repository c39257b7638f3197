"""Every setting once, and three ways to give it."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import sockact
from sockact.cli import main
from sockact.config.keywords import SettingsKeywords
from sockact.config.settings import FIELDS, Settings, options, resolve, variable
from sockact.config.values import flag, number, seconds, seconds_or_none
from sockact.errors import SettingsError

# Setting, its text, and the value that this text and the keyword mean.
SAMPLES: dict[str, tuple[str, Any]] = {
    "listen": ("[::1]:80", ("[::1]:80",)),
    "require_activation": ("yes", True),
    "workers": ("3", 3),
    "chdir": ("/srv", "/srv"),
    "env_file": ("/etc/app.env", ("/etc/app.env",)),
    "kind": ("wsgi", "wsgi"),
    "unused": ("keep", "keep"),
    "factory": ("yes", True),
    "preload": ("yes", True),
    "loop": ("asyncio", "asyncio"),
    "lifespan": ("off", "off"),
    "tls_certificate": ("/etc/app/tls.crt", "/etc/app/tls.crt"),
    "tls_key": ("/etc/app/tls.key", "/etc/app/tls.key"),
    "tls_client_ca": ("/etc/app/ca.crt", "/etc/app/ca.crt"),
    "tls_handshake_timeout": ("5s", 5.0),
    "plain_listeners": ("inside", ("inside",)),
    "redirect_http": ("8443", 8443),
    "threads": ("3", 3),
    "start_timeout": ("1min 30s", 90.0),
    "warmup_path": ("/health?full", "/health?full"),
    "probation": ("250ms", 0.25),
    "max_draining": ("2", 2),
    "surge": ("2", 2),
    "canary": ("2", 2),
    "canary_for": ("90s", 90.0),
    "max_requests": ("1000", 1000),
    "max_worker_age": ("1h", 3600.0),
    "max_worker_memory": ("300M", 300 * 1024**2),
    "idle_exit": ("5min", 300.0),
    "worker_watchdog": ("none", None),
    "notify": ("no", False),
    "notify_access": ("all", "all"),
    "handover": ("no", False),
    "linger": ("250ms", 0.25),
    "drain_timeout": ("2h", 7200.0),
    "stream_grace": ("2s", 2.0),
    "websocket_grace": ("2s", 2.0),
    "drain_jitter": ("1s", 1.0),
    "trusted_proxies": ("10.0.0.0/8", ("10.0.0.0/8",)),
    "drain_delay": ("2s", 2.0),
    "drain_mode": ("refuse", "refuse"),
    "ready_path": ("/ready", "/ready"),
    "live_path": ("/live", "/live"),
    "shutdown_timeout": ("7", 7.0),
    "keep_alive": ("1.5s", 1.5),
    "header_timeout": ("10", 10.0),
    "body_timeout": ("none", None),
    "write_timeout": ("2min", 120.0),
    "max_header_bytes": ("16K", 16384),
    "max_body_bytes": ("10M", 10 * 1024**2),
    "wsgi_buffer": ("64K", 65536),
    "websocket_max_message": ("1M", 1024**2),
    "websocket_ping_interval": ("1min", 60.0),
    "websocket_ping_timeout": ("none", None),
    "websocket_compression": ("no", False),
    "root_path": ("/api", "/api"),
    "proxy_protocol": ("front", ("front",)),
    "max_connections": ("1000", 1000),
    "version": ("1.2 (a1b2c3)", "1.2 (a1b2c3)"),
    "version_header": ("X-Version", "X-Version"),
    "reload_page": ("on", True),
    "control": ("none", "none"),
    "pid_file": ("/run/app/pid", "/run/app/pid"),
    "access_log": ("on", True),
    "access_log_format": ("%(s)s", "%(s)s"),
    "request_id": ("X-Request-ID", "X-Request-ID"),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
}


def by_flags(*flags: str) -> Settings:
    arguments = vars(main._parser(["run"]).parse_args(["run", *flags, "app:app"]))
    given = {name: value for name, value in arguments.items() if name in FIELDS and value is not None}
    return resolve(given, {})


def error_of(given: dict[str, Any], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        resolve(given, environ or {})
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("30", 30),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("10us", 1e-5),
        ("2min", 120),
        ("2m", 120),
        ("1h", 3600),
        ("1min 30s", 90),
        ("1min30s", 90),
        (" 5 s ", 5),
    ],
)
def test_a_time_span_is_read_as_systemd_writes_it(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", " ", "x", "-1", "5 parsecs", "1.5.5", "1,5", "s", "5s!", "nan", "inf", "none"]
)
def test_what_is_no_time_span_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time span like 30"):
        seconds(text)


def test_a_long_wrong_time_span_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="expected a time span"):
        seconds("1" * 60 + "!")
    began = time.process_time()
    with pytest.raises(ValueError, match="expected a time span"):
        seconds("1s" + 100_000 * " " + "!")
    assert time.process_time() - began < 3  # of CPU; many times as many if blanks took quadratic time


def test_a_time_span_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a time span"):
        seconds("9" * 400)


@pytest.mark.parametrize("text", ["none", "None", "infinity", " none "])
def test_no_limit_is_none_or_infinity(text: str) -> None:
    assert seconds_or_none(text) is None


def test_a_limit_is_a_time_span() -> None:
    assert seconds_or_none("2s") == 2


@pytest.mark.parametrize("text", ["1", "yes", "true", "on", "YES", " on "])
def test_yes(text: str) -> None:
    assert flag(text) is True


@pytest.mark.parametrize("text", ["0", "no", "false", "off", "Off"])
def test_no(text: str) -> None:
    assert flag(text) is False


@pytest.mark.parametrize("text", ["", "2", "y", "maybe"])
def test_neither_yes_nor_no(text: str) -> None:
    with pytest.raises(ValueError, match="expected yes or no"):
        flag(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "0x10", "1_000"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        number(text)


def test_each_setting_has_a_sample_here() -> None:
    assert SAMPLES.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_has_a_help_text(name: str) -> None:
    assert FIELDS[name].metadata["help"]


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_is_a_keyword(name: str) -> None:
    _, value = SAMPLES[name]

    assert getattr(resolve({name: value}, {}), name) == value


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_is_a_keyword_with_text(name: str) -> None:
    text, value = SAMPLES[name]

    assert getattr(resolve({name: text}, {}), name) == value


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_is_a_variable(name: str) -> None:
    text, value = SAMPLES[name]

    assert variable(name) == "SOCKACT_" + name.upper()
    assert getattr(resolve({}, {variable(name): text}), name) == value


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_is_a_flag(name: str) -> None:
    text, value = SAMPLES[name]
    option = ("--no-" if value is False else "--") + name.replace("_", "-")

    flags = [option] if isinstance(value, bool) else [option, text]
    assert getattr(by_flags(*flags), name) == value


def test_a_flag_is_switched_off_with_no() -> None:
    assert resolve({"access_log": False}, {"SOCKACT_ACCESS_LOG": "yes"}).access_log is False
    assert by_flags("--no-access-log").access_log is False


def test_listen_may_be_repeated() -> None:
    assert by_flags("--listen", ":80", "--listen", "unix:/x").listen == (":80", "unix:/x")
    assert resolve({"listen": [":80", "unix:/x"]}, {}).listen == (":80", "unix:/x")
    assert resolve({}, {"SOCKACT_LISTEN": ":80 unix:/x, :81"}).listen == (":80", "unix:/x", ":81")


def test_a_keyword_beats_the_variable_which_beats_the_default() -> None:
    environ = {"SOCKACT_LINGER": "2s"}

    assert resolve({}, {}).linger == 1
    assert resolve({}, environ).linger == 2
    assert resolve({"linger": "3s"}, environ).linger == 3


def test_a_keyword_hides_a_variable_that_is_wrong() -> None:
    assert resolve({"linger": 3}, {"SOCKACT_LINGER": "x"}).linger == 3


def test_none_is_a_value_where_it_means_no_limit() -> None:
    assert resolve({"drain_timeout": None}, {"SOCKACT_DRAIN_TIMEOUT": "5"}).drain_timeout is None


def test_a_whole_number_is_a_time() -> None:
    linger = resolve({"linger": 2}, {}).linger

    assert (linger, type(linger)) == (2.0, float)


def test_without_anything_the_defaults_hold() -> None:
    assert resolve({}, {"PATH": "/bin"}) == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().linger = 2  # type: ignore[misc]


def test_an_unknown_setting_brings_a_hint() -> None:
    assert error_of({"drain_timout": 3}) == "unknown setting 'drain_timout': did you mean 'drain_timeout'?"


def test_an_unknown_setting_of_the_project_is_named_with_its_file() -> None:
    with pytest.raises(SettingsError, match=r"^pyproject\.toml: unknown setting 'wrkers': did you mean"):
        resolve({}, {}, {"wrkers": 2})


def test_an_unknown_setting_like_no_other_brings_no_hint() -> None:
    assert error_of({"xyzzy": 3}) == "unknown setting 'xyzzy'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", True),
        ("workers", -1),
        ("workers", 1.5),
        ("workers", None),
        ("factory", 1),
        ("factory", None),
        ("threads", [3]),
        ("linger", -1),
        ("linger", True),
        ("linger", math.nan),
        ("linger", math.inf),
        ("linger", None),
        ("drain_timeout", -0.5),
        ("chdir", 3),
        ("kind", 3),
        ("kind", None),
        ("log_level", 10),
        ("listen", 8000),
        ("listen", None),
        ("listen", [8000]),
        ("listen", []),
    ],
)
def test_a_wrong_value_is_named_with_its_setting_and_what_was_expected(name: str, value: object) -> None:
    text = error_of({name: value})

    assert text.startswith(f"{name}={value!r}: expected ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("factory", 1, "True or False"),
        ("workers", -1, "a whole number, not negative"),
        ("linger", None, "seconds, not negative"),
        ("drain_timeout", -1, "seconds, not negative, or None"),
        ("listen", 8000, "a text, or several in a list"),
        ("chdir", None, "a text"),
        ("chdir", b"/srv", "a text"),
    ],
)
def test_what_was_expected_is_a_kind_of_value(name: str, value: object, expected: str) -> None:
    assert error_of({name: value}) == f"{name}={value!r}: expected {expected}"


def test_a_path_may_be_one_of_pathlib() -> None:
    chosen = resolve({"chdir": Path("/srv/the app"), "env_file": Path("/etc/the env")}, {})

    assert (chosen.chdir, chosen.env_file) == ("/srv/the app", ("/etc/the env",))
    assert resolve({"env_file": [Path("/a"), "/b"]}, {}).env_file == ("/a", "/b")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("workers", "x", "a whole number"),
        ("factory", "maybe", "yes or no"),
        ("kind", "rack", "one of auto, asgi, asgi2, wsgi"),
        ("lifespan", "perhaps", "one of auto, on, off"),
        ("log_level", "INFO", "one of debug, info, warning, error, critical"),
        ("linger", "soon", "a time span like 30, 1.5s, 250ms or 1min 30s"),
        ("drain_timeout", "never", "a time span like 30, 1.5s, 250ms or 1min 30s"),
        ("listen", "", "a word or several"),
        ("warmup_path", "health", "a path like /-/ready"),
        ("ready_path", "/ready now", "a path like /-/ready"),
        ("live_path", "http://x/live", "a path like /-/ready"),
    ],
)
def test_a_wrong_text_is_named_with_its_source_and_what_was_expected(
    name: str, text: str, expected: str
) -> None:
    assert error_of({name: text}).startswith(f"{name}={text!r}: expected {expected}")
    assert error_of({}, {variable(name): text}).startswith(
        f"{variable(name)}={text!r}: expected {expected}"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threads": 0}, "threads=0: expected at least 1"),
        ({"header_timeout": 0}, "header_timeout=0: expected more, or none for no limit"),
        ({"body_timeout": "0s"}, "body_timeout=0: expected more, or none for no limit"),
        ({"write_timeout": 0}, "write_timeout=0: expected more, or none for no limit"),
        ({"start_timeout": 0}, "start_timeout=0: expected more than 0"),
        ({"tls_handshake_timeout": 0}, "tls_handshake_timeout=0: expected more than 0"),
        ({"redirect_http": 70000}, "redirect_http=70000: expected a port, at most 65535"),
        ({"linger": 31}, "linger=31: expected at most drain_timeout=30"),
    ],
)
def test_values_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    assert error_of(given).startswith(message)


@pytest.mark.parametrize("seconds", [0, 0.5, "500ms"])
def test_a_drain_timeout_before_the_default_linger_shortens_it(seconds: object) -> None:
    chosen = resolve({"drain_timeout": seconds}, {})

    assert chosen.linger == chosen.drain_timeout
    assert error_of({"drain_timeout": seconds, "linger": 1}).startswith("linger=1: expected at most")


def test_any_linger_goes_with_a_drain_without_limit() -> None:
    assert resolve({"linger": 3600, "drain_timeout": "none"}, {}).stop_timeout is None


def test_a_stop_may_take_the_drain_and_the_shutdown_with_the_hooks_around_it() -> None:
    """That is `on_stop`, the shutdown, `on_exit`."""
    assert Settings(drain_timeout=10, shutdown_timeout=2).stop_timeout == 16


@pytest.mark.parametrize("name", FIELDS)
def test_settings_written_as_options_are_read_as_the_same(name: str) -> None:
    chosen = resolve({name: SAMPLES[name][1]}, {})

    assert by_flags(*options(chosen)) == chosen
    assert (options(chosen) == []) == (chosen == resolve({}, {}))


def test_the_keywords_are_those_of_the_settings_and_take_their_values() -> None:
    hints = get_type_hints(SettingsKeywords)

    assert list(hints) == list(FIELDS)
    for name, field in FIELDS.items():
        kinds = get_args(hints[name]) or (hints[name],)
        assert str in kinds
        value = field.default
        kind = Sequence[str] if isinstance(value, tuple) else type(value)
        assert kind in kinds or name == "env_file", name
        assert (type(None) in kinds) == (field.metadata["parse"] is seconds_or_none), name


@pytest.mark.slow
def test_a_wrong_keyword_is_seen_by_a_type_checker(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text("import sockact\nsockact.serve('a:b', workers=2, linger='1s')\n")
    (tmp_path / "wrong.py").write_text("import sockact\nsockact.serve('a:b', worker=2)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "right.py", "wrong.py"]
    environ = {"MYPYPATH": str(Path(sockact.__file__).parents[1]), "PATH": os.environ["PATH"]}

    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert [line for line in done.stdout.splitlines() if "error:" in line and "right.py" in line] == []
    assert 'wrong.py:2: error: Unexpected keyword argument "worker" for "serve"' in done.stdout
