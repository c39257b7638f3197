"""Every setting once: a keyword of `serve`, a flag of `sockact run`, a variable SOCKACT_….

`drain_timeout=30`, `--drain-timeout 30s` and `SOCKACT_DRAIN_TIMEOUT=30s` say the same. A keyword or
flag beats the variable, which beats pyproject.toml (see `project`), which beats the default. A keyword
may be a value or the text of one.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sockact.config.values import (
    flag,
    header,
    number,
    one_of,
    paths,
    plain,
    seconds,
    seconds_or_none,
    size,
    url,
    url_path,
    words,
)
from sockact.errors import SettingsError

PREFIX = "SOCKACT_"

KINDS = ("asgi", "asgi2", "wsgi", "stream", "datagram", "requests", "socket")
"""What can be served; see `sockact.apps.kinds`."""


MAX_PROCESSES = 1024
"""Most processes, threads or generations of them: one digit too many would cost the whole machine."""

_MAX_SECONDS = 100 * 365.25 * 86400
"""Most seconds that a setting may mean; waits of Python end after 292 years (`threading.TIMEOUT_MAX`)."""

_MAX_NUMBER = 2**63 - 1


def _setting(
    default: Any, parse: Callable[[str], Any], meaning: str, metavar: str = "", most: int = _MAX_NUMBER
) -> Any:
    metadata = {"parse": parse, "help": meaning, "metavar": metavar, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


_LISTEN = """where to listen when no socket was passed, and there is no socket unit; repeatable:
host:port, [v6]:port, :port, unix:/path, unix:@abstract, udp:host:port; NAME= before it names it"""
_CHDIR = """change to this directory, and import from it;
a symbolic link is resolved again at every reload"""
_VERSION = """what the code calls itself, in the status and in `version_header`;
set by the code, or by a file that each release brings along"""
_CONTROL = """path of the control socket;
auto: in a private folder, in $RUNTIME_DIRECTORY or else /tmp; none: no such socket"""
_WARMUP = """path that each HTTP app is asked for before it is ready,
or a URL like https://example.org/health, for one that serves that host only;
an answer other than 2xx or 3xx is a start that has failed, and refuses a reload"""
_KIND = """what the app is, where its signature does not tell:
asgi, asgi2, wsgi, stream, datagram, requests, socket"""
_UNUSED = """what to do with sockets for which no app was named:
refuse to start, close them, or keep them for a later release"""
_PROXIES = """whose X-Forwarded-For and -Proto are believed; repeatable:
an address, a network, uid=NAME or unix for the peers of Unix sockets"""
_PLAIN = """FileDescriptorName= of listeners that do not speak TLS
although there is a certificate; repeatable"""
_REDIRECT = """the port of https to which listeners named http redirect;
0: they serve the app"""
_ENV_FILE = """file of environment variables as with systemd's EnvironmentFile=, repeatable;
read anew for each worker, and at each reload"""
_PID_FILE = """where the PID of the main process is written while the service lives;
systemd needs no such file"""
_LOOP = """the event loop that serves: uvloop, which is faster, or asyncio,
Python's own, for what needs that one, like nest_asyncio"""
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve. Times are in seconds; None means no limit.

    The order is that of `sockact run --help` and of the table in README.
    """

    listen: tuple[str, ...] = _setting(("127.0.0.1:8000",), words, _LISTEN, "ADDRESS")
    require_activation: bool = _setting(
        False, flag, "whether it is an error anywhere that no socket was passed; else `listen` is bound"
    )
    workers: int = _setting(
        1, number, "processes that serve; 0: the main process itself", "N", MAX_PROCESSES
    )
    chdir: str = _setting("", str, _CHDIR, "PATH")
    env_file: tuple[str, ...] = _setting((), paths, _ENV_FILE, "PATH")
    kind: str = _setting("auto", one_of("auto", *KINDS), _KIND, "KIND")
    unused: str = _setting("error", one_of("error", "close", "keep"), _UNUSED, "WHAT")
    factory: bool = _setting(
        False,
        flag,
        "the app is a callable without arguments that returns the app; called in the event loop",
    )
    loop: str = _setting("uvloop", one_of("uvloop", "asyncio"), _LOOP, "LOOP")
    lifespan: str = _setting(
        "auto", one_of("auto", "on", "off"), "ASGI lifespan events; auto: an app may refuse them", "WHEN"
    )
    tls_certificate: str = _setting(
        "", str, "PEM file with the certificate and its chain, or name of a credential", "FILE"
    )
    tls_key: str = _setting("", str, "PEM file with its key, if that is not in the same one", "FILE")
    tls_client_ca: str = _setting(
        "", str, "PEM file with who signs clients' certificates; without one of them none is served", "FILE"
    )
    tls_handshake_timeout: float = _setting(
        10.0, seconds, "how long a client may take for its handshake, in a drain too", "TIME"
    )
    plain_listeners: tuple[str, ...] = _setting(("http",), words, _PLAIN, "NAME")
    redirect_http: int = _setting(0, number, _REDIRECT, "PORT")
    threads: int = _setting(10, number, "threads that run a WSGI app", "N", MAX_PROCESSES)
    start_timeout: float = _setting(
        60.0, seconds, "limit of the app's startup, also of the one that a reload tries", "TIME"
    )
    warmup_path: str = _setting("", url, _WARMUP, "PATH")
    probation: float = _setting(
        1.0, seconds, "how long new workers must live before the old ones may go", "TIME"
    )
    max_draining: int = _setting(
        4, number, "generations of workers that may drain at a time", "N", MAX_PROCESSES
    )
    surge: int = _setting(
        0,
        number,
        "how many workers a reload starts at a time, for want of memory; 0: all together",
        "N",
        MAX_PROCESSES,
    )
    max_requests: int = _setting(
        0, number, "after how many requests, and up to a tenth more, a worker is replaced; 0: never", "N"
    )
    max_worker_age: float = _setting(
        0.0, seconds, "after how long, and up to a tenth more, a worker is replaced; 0: never", "TIME"
    )
    max_worker_memory: int = _setting(
        0, size, "above how many bytes in memory a worker is replaced, like 300M; 0: never", "SIZE"
    )
    idle_exit: float = _setting(
        0.0, seconds, "end when nothing is connected for so long; systemd starts anew; 0: never", "TIME"
    )
    worker_watchdog: float | None = _setting(
        30.0, seconds_or_none, "how long a worker's event loop may hang before it is replaced", "TIME"
    )
    notify: bool = _setting(True, flag, "whether a supervised program says when it is ready")
    notify_access: str = _setting(
        "main",
        one_of("main", "all"),
        "who may say so: the program itself, or all of its process group",
        "WHO",
    )
    handover: bool = _setting(
        True, flag, "whether connections move to the next process; else they are closed after `linger`"
    )
    linger: float = _setting(
        1.0, seconds, "how long a draining process keeps a connection on which nothing happens", "TIME"
    )
    drain_timeout: float | None = _setting(
        30.0, seconds_or_none, "the hammer: when a drain aborts what is left; none: never", "TIME"
    )
    stream_grace: float | None = _setting(
        None,
        seconds_or_none,
        "how long a drain lets responses go on that have begun; none: up to the hammer",
        "TIME",
    )
    websocket_grace: float = _setting(0.0, seconds, "how long a drain lets WebSockets go on", "TIME")
    drain_jitter: float = _setting(
        0.0, seconds, "over how long it spreads the ends of both: clients then come back one by one", "TIME"
    )
    trusted_proxies: tuple[str, ...] = _setting((), words, _PROXIES, "PROXY")
    drain_delay: float = _setting(
        0.0, seconds, "how long a stop goes on accepting, with its readiness red, before the drain", "TIME"
    )
    drain_mode: str = _setting(
        "serve",
        one_of("serve", "refuse"),
        "what becomes of requests that come in the drain of a stop; refuse: 503",
        "MODE",
    )
    ready_path: str = _setting(
        "", url_path, "path that says whether the service is ready: 200 or 503", "PATH"
    )
    live_path: str = _setting("", url_path, "path that says that the service is alive: 200", "PATH")
    shutdown_timeout: float = _setting(
        5.0,
        seconds,
        "limit of the app's shutdown, after the drain; of the hooks around it and the process's end, too",
        "TIME",
    )
    keep_alive: float = _setting(75.0, seconds, "how long an idle connection is kept open", "TIME")
    header_timeout: float | None = _setting(
        60.0,
        seconds_or_none,
        "how long a client may take for the headers of a request; none: no limit",
        "TIME",
    )
    body_timeout: float | None = _setting(
        60.0,
        seconds_or_none,
        "how long a client may send nothing of a body that is waited for; none: no limit",
        "TIME",
    )
    write_timeout: float | None = _setting(
        60.0,
        seconds_or_none,
        "how long a client may read nothing of what it is sent; none: no limit",
        "TIME",
    )
    max_header_bytes: int = _setting(
        65536, size, "the most that a request's headers may have, else 431; 0: no limit", "SIZE"
    )
    max_body_bytes: int = _setting(
        0, size, "the most that its body may have, like 10M, else 413; 0: no limit", "SIZE"
    )
    max_connections: int = _setting(
        0, number, "how many connections an app takes in a worker; more wait in the queue; 0: no limit", "N"
    )
    version: str = _setting("", plain, _VERSION, "TEXT")
    version_header: str = _setting(
        "", header, "a header field of each response that tells the `version`, like X-Version", "NAME"
    )
    control: str = _setting("auto", str, _CONTROL, "PATH")
    pid_file: str = _setting("", str, _PID_FILE, "PATH")
    access_log: bool = _setting(False, flag, "log each request")
    log_level: str = _setting("info", one_of(*_LEVELS), "the least level that is logged", "LEVEL")

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.drain_timeout is not None and self.linger > self.drain_timeout:
            raise SettingsError(
                f"linger={self.linger:g}: expected at most drain_timeout={self.drain_timeout:g}"
            )
        for name in ("header_timeout", "body_timeout", "write_timeout"):
            if getattr(self, name) == 0:
                raise SettingsError(f"{name}=0: expected more, or none for no limit")
        if not self.threads:
            raise SettingsError("threads=0: expected at least 1")
        for name in ("start_timeout", "tls_handshake_timeout"):
            if not getattr(self, name):
                raise SettingsError(f"{name}=0: expected more than 0")
        if self.redirect_http > 65535:
            raise SettingsError(f"redirect_http={self.redirect_http}: expected a port, at most 65535")

    def _check_sizes(self) -> None:
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), field.metadata["most"]
            if isinstance(value, float) and value > _MAX_SECONDS:
                endless = ", or none" if field.metadata["parse"] is seconds_or_none else ""
                raise SettingsError(f"{field.name}={value:g}: expected at most 100 years{endless}")
            if isinstance(value, int) and value > most:
                raise SettingsError(f"{field.name}={_short(value)}: expected at most {most}")

    @property
    def stop_timeout(self) -> float | None:
        """The longest a stop may take: its delay, the drain up to the hammer, the app's end."""
        if self.drain_timeout is None:
            return None
        return self.drain_delay + self.drain_timeout + self.end_timeout

    @property
    def end_timeout(self) -> float:
        """The longest that an app may take to end after the drain: `on_stop`, its shutdown, `on_exit`."""
        return 3 * self.shutdown_timeout

    @property
    def replace_timeout(self) -> float | None:
        """The longest that new code may take to take over, with the drain before it or after it."""
        return (
            None if self.stop_timeout is None else self.start_timeout + self.probation + self.stop_timeout
        )


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return PREFIX + name.upper()


def resolve(
    given: Mapping[str, Any], environ: Mapping[str, str], project: Mapping[str, Any] = MappingProxyType({})
) -> Settings:
    """Combine keywords or flags with the environment.

    Args:
        given: setting by name; a string is parsed.
        environ: where the SOCKACT_ variables are.
        project: setting by name, for those that are in neither.

    Raises:
        SettingsError: a setting is unknown, or its value cannot be used; says where it came from.
    """
    _require_known(given, "")
    _require_known(project, "pyproject.toml: ")
    values: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if name in given:
            values[name] = _value(name, given[name], field)
        elif variable(name) in environ:
            values[name] = _parsed(variable(name), environ[variable(name)], field)
        elif name in project:
            values[name] = _value(f"pyproject.toml: {name}", project[name], field)
    hammer = values.get("drain_timeout")
    if "linger" not in values and hammer is not None:
        # Nobody who wants a short drain has to know what it consists of.
        values["linger"] = min(FIELDS["linger"].default, hammer)
    return Settings(**values)


def options(chosen: Settings) -> list[str]:
    """Return the options of `sockact run` that choose the same; what is the default is left out."""
    result: list[str] = []
    for name, field in FIELDS.items():
        if (value := getattr(chosen, name)) != field.default:
            result += option(name, value)
    return result


def option(name: str, value: object) -> list[str]:
    """Return the words that give one setting to `sockact run`."""
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{word}" if value else f"--no-{word}"]
    values = value if isinstance(value, tuple | list) else (value,)
    return [f"--{word}={_written(each)}" for each in values]


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that look like settings and are none."""
    known = {variable(name) for name in FIELDS}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _require_known(names: Iterable[str], where: str) -> None:
    """Raise SettingsError if one of `names` is no setting."""
    for name in names:
        if name not in FIELDS:
            import difflib  # a supervisor has no other use for it

            close = difflib.get_close_matches(name, FIELDS, 1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"{where}unknown setting {_short(name)}{hint}")


def _short(value: object) -> str:
    """Write a value in an error: a file may have long ones, or some that are nested too deeply for that."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a program has given
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _written(value: object) -> str:
    """Write a value as `_parsed` reads it."""
    if value is None:
        return "none"
    return f"{value:f}" if isinstance(value, float) else str(value)


def _value(name: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    value = _as_text(value, field)
    if isinstance(value, str):
        return _parsed(name, value, field)
    if not _fits(value, field):
        raise SettingsError(f"{name}={_short(value)}: expected {_expected(field)}")
    if isinstance(field.default, tuple):
        return tuple(value)
    spans = isinstance(field.default, float) or field.metadata["parse"] is seconds_or_none
    return float(value) if spans and value is not None else value


def _as_text(value: Any, field: dataclasses.Field[Any]) -> Any:
    """Return the text of a path, as `pathlib` writes it, where the setting is one."""
    if field.metadata["metavar"] not in ("PATH", "FILE"):
        return value
    if isinstance(field.default, tuple):
        several = [value] if isinstance(value, os.PathLike) else value
        if isinstance(several, list | tuple):
            return [os.fspath(each) if isinstance(each, os.PathLike) else each for each in several]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _fits(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Tell whether a keyword's value, which is no text, is one that the setting can have."""
    if isinstance(field.default, tuple):
        texts = isinstance(value, list | tuple) and all(
            isinstance(each, str) and "\0" not in each for each in value
        )
        return texts and (bool(value) or not field.default)
    if value is None:
        return field.metadata["parse"] is seconds_or_none
    if isinstance(field.default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(field.default, bool)
    if isinstance(field.default, int):
        return isinstance(value, int) and value >= 0
    if isinstance(field.default, float) or field.metadata["parse"] is seconds_or_none:
        return isinstance(value, int | float) and 0 <= value <= sys.float_info.max
    return False


def _expected(field: dataclasses.Field[Any]) -> str:
    """Say what a keyword's value has to be."""
    if field.metadata["parse"] is seconds_or_none:
        return "seconds, not negative, or None"
    if isinstance(field.default, tuple):
        return "a text, or several in a list"
    words = {bool: "True or False", int: "a whole number, not negative", float: "seconds, not negative"}
    return words.get(type(field.default), "a text")


def _parsed(source: str, text: str, field: dataclasses.Field[Any]) -> Any:
    if "\0" in text:
        raise SettingsError(f"{source}={_short(text)}: expected no NUL")  # no path has one, nor a variable
    try:
        return field.metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(f"{source}={_short(text)}: {error}") from None
