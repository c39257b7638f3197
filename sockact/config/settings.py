"""Declares every setting once: a keyword of `serve`, a flag of `sockact run`, a variable SOCKACT_….

`drain_timeout=30`, `--drain-timeout 30s` and `SOCKACT_DRAIN_TIMEOUT=30s` mean the same. A keyword or flag
has precedence over the variable; then come pyproject.toml (see `pyproject`) and the default. A keyword may
be a value or its text. `page` makes docs/settings.md from the declaration.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sockact.config import access_format, conversion
from sockact.config.log_formats import FORMATS
from sockact.config.values import (
    OneOf,
    flag,
    header,
    number,
    paths,
    plain,
    root,
    seconds,
    seconds_or_none,
    size,
    url,
    url_path,
    words,
)
from sockact.errors import SettingsError, similar

PREFIX = "SOCKACT_"

KINDS = ("asgi", "asgi2", "wsgi", "stream", "datagram", "requests", "socket")
"""The kinds of apps; `sockact.apps.kinds` has the table."""

MAX_PROCESSES = 1024
"""Most processes, threads or generations: one digit too many would exhaust the machine."""

_MAX_SECONDS = 100 * 365.25 * 86400
"""Most seconds of a setting; Python can wait for 292 years at most (`threading.TIMEOUT_MAX`)."""

_MAX_NUMBER = 2**63 - 1


class Group(enum.StrEnum):
    """The groups of settings, by their headings in docs/settings.md."""

    SOCKETS = "Sockets"
    APP = "The app"
    WORKERS = "Workers"
    RELOAD = "Reload"
    STOP = "Drain and stop"
    LIMITS = "Limits for clients"
    TLS = "TLS"
    HTTP = "HTTP"
    STATUS = "Status and logs"


def _setting(
    group: Group,
    default: Any,
    parse: Callable[[str], Any],
    meaning: str,
    metavar: str = "",
    most: int = _MAX_NUMBER,
) -> Any:
    metadata = {
        "group": group,
        "parse": parse,
        "help": " ".join(meaning.split()),
        "metavar": metavar,
        "most": most,
    }
    return dataclasses.field(default=default, metadata=metadata)


_LISTEN = """address to listen on if no socket was passed and there is no socket unit; repeatable:
host:port, [v6]:port, port, /path, unix:/path, @abstract or udp:host:port; NAME= before it is the name"""
_REQUIRE_ACTIVATION = "fail wherever no socket was passed; otherwise `listen` is bound"
_UNUSED = """listeners without an app: error refuses to start, close closes them,
keep keeps them for a later release"""
_CHDIR = """directory to change to and to import from; symbolic links are resolved again at each reload"""
_ENV_FILE = """file of environment variables, in the syntax of systemd's EnvironmentFile=; repeatable;
read again for each worker and at each reload"""
_KIND = f"kind of the app, if its signature does not show it: {', '.join(KINDS)}"
_FACTORY = "the given callable takes no arguments and returns the app; it is called in the event loop"
_LOOP = (
    "event loop: uvloop, which is faster, or Python's own asyncio, which nest_asyncio, for example, needs"
)
_LIFESPAN = (
    "ASGI lifespan: on means that the app must support it, auto that it may, off that it is not used"
)
_START_TIMEOUT = "limit for the app's startup, also when a reload tries new code"
_WARMUP = """path that each HTTP app must answer with 2xx or 3xx before it is ready; otherwise the start or
the reload fails; a URL like https://example.org/health sets scheme and host, too, for an app that serves
only these"""
_SHUTDOWN_TIMEOUT = """limit for the app's shutdown after the drain, for each of its hooks then, and for
the end of the process"""
_PRELOAD = """import the app once, in a process that forks the workers: they start at once, and share its
memory; the import must leave no threads and no connections behind"""
_THREADS = "threads for WSGI apps and blocking handlers"
_MAX_REQUESTS = "number of requests, and up to a tenth more, after which a worker is replaced; 0: never"
_MAX_AGE = "age, and up to a tenth more, at which a worker is replaced; 0: never"
_MAX_MEMORY = "memory above which a worker is replaced, such as 300M; 0: never"
_WATCHDOG = "time that a worker's event loop may hang before the worker is replaced; none: no limit"
_IDLE_EXIT = "exit after this time without a connection; at the next one systemd starts anew; 0: never"
_NOTIFY = "a supervised program reports its own readiness"
_NOTIFY_ACCESS = "sender of that report: main for the program itself, all for its whole process group"
_PROBATION = "time that new workers must stay alive before the old ones are stopped"
_MAX_DRAINING = "number of generations of workers that may drain at the same time"
_SURGE = "number of workers that a reload starts at a time, to save memory; 0: all together"
_CANARY = """number of workers of new code that a reload starts first: they serve beside the others, and are
compared with them; if they do worse, the reload is refused; 0: none"""
_CANARY_FOR = "time for which they are compared"
_HANDOVER = "connections move to the next process; otherwise they are closed after `linger`"
_LINGER = "time that a draining process keeps a connection on which nothing happens"
_DRAIN_TIMEOUT = (
    "limit for a drain, which then aborts the connections and requests that are left; none: no limit"
)
_STREAM_GRACE = "time that responses which have begun may go on in a drain; none: until the drain timeout"
_WEBSOCKET_GRACE = "time that WebSockets may go on in a drain"
_DRAIN_JITTER = """time over which a drain spreads the ends of streams and WebSockets, so that their clients
reconnect one by one"""
_DRAIN_DELAY = "time that a stop goes on accepting before the drain, while it reports that it is not ready"
_DRAIN_MODE = "requests that arrive while a stop drains: serve answers them, refuse answers 503"
_KEEP_ALIVE = "time that an idle connection is kept open"
_HEADER_TIMEOUT = "time that a client may take for the headers of a request; none: no limit"
_BODY_TIMEOUT = "time that a client may send nothing of a body that the app waits for; none: no limit"
_WRITE_TIMEOUT = "time that a client may read nothing of a response; none: no limit"
_MAX_HEADER = "limit for the headers of a request, beyond which the answer is 431; 0: no limit"
_MAX_BODY = "limit for the body of a request, such as 10M, beyond which the answer is 413; 0: no limit"
_MAX_CONNECTIONS = "connections that an app accepts in each worker; more wait in the queue; 0: no limit"
_WSGI_BUFFER = """bytes that are buffered for each client of a WSGI app, in each direction: a slow client
takes a thread only for a longer body, or for more of a streamed response that it does not read"""
_WEBSOCKET_MESSAGE = "limit for a message from a WebSocket, decompressed; 0: no limit"
_PING_INTERVAL = "time between pings to a WebSocket; none: no pings"
_PING_TIMEOUT = "time that a WebSocket may take to answer a ping; none: no limit"
_COMPRESSION = "WebSockets may compress messages (permessage-deflate)"
_ROOT_PATH = """path under which a proxy serves the app, such as /api, whether or not the proxy removes it:
SCRIPT_NAME of WSGI, root_path of ASGI"""
_CERTIFICATE = "PEM file with the certificate and its chain, or the name of a systemd credential"
_KEY = "PEM file with the private key, if it is not in the certificate's file"
_CLIENT_CA = """PEM file with the authorities that sign client certificates; clients without a
certificate are not served"""
_HANDSHAKE_TIMEOUT = "limit for a client's TLS handshake, also in a drain"
_PLAIN = (
    "FileDescriptorName= of listeners that do not speak TLS although there is a certificate; repeatable"
)
_REDIRECT = "https port to which listeners named http redirect; 0: they serve the app"
_PROXIES = """proxy whose X-Forwarded-For and X-Forwarded-Proto, or Forwarded, are trusted; repeatable: an
address, a network, uid=NAME for a user on Unix sockets, or unix for all users"""
_PROXY_PROTOCOL = """FileDescriptorName= of listeners on which trusted proxies speak the PROXY protocol;
connections from others are closed; repeatable"""
_READY_PATH = "path that answers 200 if the service is ready, and 503 if not"
_LIVE_PATH = "path that answers 200 while the service is alive"
_VERSION_HEADER = "response header that carries the `version`, such as X-Version"
_VERSION = """version of the code, for the status and `version_header`; set by the code, or by a file
that is part of each release"""
_CONTROL = """path of the control socket;
auto: in a private folder, in $RUNTIME_DIRECTORY or else in /tmp; none: no control socket"""
_RELOAD_PAGE = "answer GET /__sockact/reload, by which a page in a browser reloads itself when the code has"
_PID_FILE = "file with the PID of the main process, while the service runs; systemd needs no such file"
_ACCESS_FORMAT = "line of the access log, by gunicorn's names; docs/logs.md has them"
_REQUEST_ID = """header field with the id of a request, such as X-Request-ID: taken from a trusted proxy or
made, given to the app, sent with the response, and part of each log record about it; empty: no ids"""
_LOG_FORMAT = """form of the log: auto is fields in the journal, and plain lines elsewhere; priority begins
each line with <6> and the like, as sd-daemon(3) has it, for a pipe that reads it; json: an object a line"""
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a service. Times are in seconds; None means no limit.

    The order is that of `sockact run --help` and docs/settings.md.
    """

    listen: tuple[str, ...] = _setting(Group.SOCKETS, ("127.0.0.1:8000",), words, _LISTEN, "ADDRESS")
    require_activation: bool = _setting(Group.SOCKETS, False, flag, _REQUIRE_ACTIVATION)
    unused: str = _setting(Group.SOCKETS, "error", OneOf(("error", "close", "keep")), _UNUSED, "WHAT")

    chdir: str = _setting(Group.APP, "", str, _CHDIR, "PATH")
    env_file: tuple[str, ...] = _setting(Group.APP, (), paths, _ENV_FILE, "PATH")
    kind: str = _setting(Group.APP, "auto", OneOf(("auto", *KINDS)), _KIND, "KIND")
    factory: bool = _setting(Group.APP, False, flag, _FACTORY)
    loop: str = _setting(Group.APP, "uvloop", OneOf(("uvloop", "asyncio")), _LOOP, "LOOP")
    lifespan: str = _setting(Group.APP, "auto", OneOf(("auto", "on", "off")), _LIFESPAN, "WHEN")
    start_timeout: float = _setting(Group.APP, 60.0, seconds, _START_TIMEOUT, "TIME")
    warmup_path: str = _setting(Group.APP, "", url, _WARMUP, "PATH")
    shutdown_timeout: float = _setting(Group.APP, 5.0, seconds, _SHUTDOWN_TIMEOUT, "TIME")

    workers: int = _setting(
        Group.WORKERS,
        1,
        number,
        "processes that serve; 0: the main process serves itself",
        "N",
        MAX_PROCESSES,
    )
    preload: bool = _setting(Group.WORKERS, False, flag, _PRELOAD)
    threads: int = _setting(Group.WORKERS, 10, number, _THREADS, "N", MAX_PROCESSES)
    max_requests: int = _setting(Group.WORKERS, 0, number, _MAX_REQUESTS, "N")
    max_worker_age: float = _setting(Group.WORKERS, 0.0, seconds, _MAX_AGE, "TIME")
    max_worker_memory: int = _setting(Group.WORKERS, 0, size, _MAX_MEMORY, "SIZE")
    worker_watchdog: float | None = _setting(Group.WORKERS, 30.0, seconds_or_none, _WATCHDOG, "TIME")
    idle_exit: float = _setting(Group.WORKERS, 0.0, seconds, _IDLE_EXIT, "TIME")
    notify: bool = _setting(Group.WORKERS, True, flag, _NOTIFY)
    notify_access: str = _setting(Group.WORKERS, "main", OneOf(("main", "all")), _NOTIFY_ACCESS, "WHO")

    probation: float = _setting(Group.RELOAD, 1.0, seconds, _PROBATION, "TIME")
    max_draining: int = _setting(Group.RELOAD, 16, number, _MAX_DRAINING, "N", MAX_PROCESSES)
    surge: int = _setting(Group.RELOAD, 0, number, _SURGE, "N", MAX_PROCESSES)

    canary: int = _setting(Group.RELOAD, 0, number, _CANARY, "N", MAX_PROCESSES)
    canary_for: float = _setting(Group.RELOAD, 60.0, seconds, _CANARY_FOR, "TIME")

    handover: bool = _setting(Group.STOP, True, flag, _HANDOVER)
    linger: float = _setting(Group.STOP, 1.0, seconds, _LINGER, "TIME")
    drain_timeout: float | None = _setting(Group.STOP, 30.0, seconds_or_none, _DRAIN_TIMEOUT, "TIME")
    stream_grace: float | None = _setting(Group.STOP, None, seconds_or_none, _STREAM_GRACE, "TIME")
    websocket_grace: float = _setting(Group.STOP, 0.0, seconds, _WEBSOCKET_GRACE, "TIME")
    drain_jitter: float = _setting(Group.STOP, 0.0, seconds, _DRAIN_JITTER, "TIME")
    drain_delay: float = _setting(Group.STOP, 0.0, seconds, _DRAIN_DELAY, "TIME")
    drain_mode: str = _setting(Group.STOP, "serve", OneOf(("serve", "refuse")), _DRAIN_MODE, "MODE")

    keep_alive: float = _setting(Group.LIMITS, 75.0, seconds, _KEEP_ALIVE, "TIME")
    header_timeout: float | None = _setting(Group.LIMITS, 60.0, seconds_or_none, _HEADER_TIMEOUT, "TIME")
    body_timeout: float | None = _setting(Group.LIMITS, 60.0, seconds_or_none, _BODY_TIMEOUT, "TIME")
    write_timeout: float | None = _setting(Group.LIMITS, 60.0, seconds_or_none, _WRITE_TIMEOUT, "TIME")
    max_header_bytes: int = _setting(Group.LIMITS, 65536, size, _MAX_HEADER, "SIZE")
    max_body_bytes: int = _setting(Group.LIMITS, 0, size, _MAX_BODY, "SIZE")
    wsgi_buffer: int = _setting(Group.LIMITS, 256 * 1024, size, _WSGI_BUFFER, "SIZE")
    websocket_max_message: int = _setting(Group.LIMITS, 16 << 20, size, _WEBSOCKET_MESSAGE, "SIZE")
    websocket_ping_interval: float | None = _setting(
        Group.LIMITS, 20.0, seconds_or_none, _PING_INTERVAL, "TIME"
    )
    websocket_ping_timeout: float | None = _setting(
        Group.LIMITS, 20.0, seconds_or_none, _PING_TIMEOUT, "TIME"
    )
    max_connections: int = _setting(Group.LIMITS, 0, number, _MAX_CONNECTIONS, "N")

    tls_certificate: str = _setting(Group.TLS, "", str, _CERTIFICATE, "FILE")
    tls_key: str = _setting(Group.TLS, "", str, _KEY, "FILE")
    tls_client_ca: str = _setting(Group.TLS, "", str, _CLIENT_CA, "FILE")
    tls_handshake_timeout: float = _setting(Group.TLS, 10.0, seconds, _HANDSHAKE_TIMEOUT, "TIME")
    plain_listeners: tuple[str, ...] = _setting(Group.TLS, ("http",), words, _PLAIN, "NAME")
    redirect_http: int = _setting(Group.TLS, 0, number, _REDIRECT, "PORT")

    trusted_proxies: tuple[str, ...] = _setting(Group.HTTP, (), words, _PROXIES, "PROXY")
    proxy_protocol: tuple[str, ...] = _setting(Group.HTTP, (), words, _PROXY_PROTOCOL, "NAME")
    root_path: str = _setting(Group.HTTP, "", root, _ROOT_PATH, "PATH")
    websocket_compression: bool = _setting(Group.HTTP, True, flag, _COMPRESSION)
    ready_path: str = _setting(Group.HTTP, "", url_path, _READY_PATH, "PATH")
    live_path: str = _setting(Group.HTTP, "", url_path, _LIVE_PATH, "PATH")
    version_header: str = _setting(Group.HTTP, "", header, _VERSION_HEADER, "NAME")
    reload_page: bool = _setting(Group.HTTP, False, flag, _RELOAD_PAGE)

    version: str = _setting(Group.STATUS, "", plain, _VERSION, "TEXT")
    control: str = _setting(Group.STATUS, "auto", str, _CONTROL, "PATH")
    pid_file: str = _setting(Group.STATUS, "", str, _PID_FILE, "PATH")
    access_log: bool = _setting(Group.STATUS, False, flag, "log each request")
    access_log_format: str = _setting(
        Group.STATUS, access_format.DEFAULT, access_format.access_format, _ACCESS_FORMAT, "FORMAT"
    )
    request_id: str = _setting(Group.STATUS, "", header, _REQUEST_ID, "NAME")
    log_format: str = _setting(Group.STATUS, "auto", OneOf((*FORMATS,)), _LOG_FORMAT, "FORM")
    log_level: str = _setting(
        Group.STATUS, "info", OneOf((*_LEVELS,)), "least level that is logged", "LEVEL"
    )

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.drain_timeout is not None and self.linger > self.drain_timeout:
            raise SettingsError(
                f"linger={self.linger:g}: expected at most drain_timeout={self.drain_timeout:g}"
            )
        for name in (
            "header_timeout",
            "body_timeout",
            "write_timeout",
            "websocket_ping_interval",
            "websocket_ping_timeout",
        ):
            if getattr(self, name) == 0:
                raise SettingsError(f"{name}=0: expected more, or none for no limit")
        if not self.threads:
            raise SettingsError("threads=0: expected at least 1")
        for name in ("start_timeout", "tls_handshake_timeout", "canary_for"):
            if not getattr(self, name):
                raise SettingsError(f"{name}=0: expected more than 0")
        if self.surge and self.canary > self.surge:
            raise SettingsError(f"canary={self.canary}: expected at most surge={self.surge}")
        if self.redirect_http > 65535:
            raise SettingsError(f"redirect_http={self.redirect_http}: expected a port, at most 65535")

    def _check_sizes(self) -> None:
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), field.metadata["most"]
            if isinstance(value, float) and value > _MAX_SECONDS:
                hint = ", or none" if field.metadata["parse"] is seconds_or_none else ""
                raise SettingsError(f"{field.name}={value:g}: expected at most 100 years{hint}")
            if isinstance(value, int) and value > most:
                raise SettingsError(f"{field.name}={conversion.shown(value)}: expected at most {most}")

    @property
    def stop_timeout(self) -> float | None:
        """The longest that a stop may take: its delay, the drain and the app's end."""
        if self.drain_timeout is None:
            return None
        return self.drain_delay + self.drain_timeout + self.end_timeout

    @property
    def end_timeout(self) -> float:
        """The longest that the app's end after the drain may take: `on_stop`, its shutdown, `on_exit`."""
        return 3 * self.shutdown_timeout

    @property
    def replace_timeout(self) -> float | None:
        """The longest that a reload may take: the start of new code, and the drain before or after it."""
        return (
            None
            if self.stop_timeout is None
            else self._canary_time + self.start_timeout + self.probation + self.stop_timeout
        )

    @property
    def _canary_time(self) -> float:
        """The longest that a canary may take: its start, and the time for which it is compared."""
        return self.start_timeout + self.canary_for if self.canary else 0.0


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return PREFIX + name.upper()


def resolve(
    given: Mapping[str, Any], environ: Mapping[str, str], project: Mapping[str, Any] = MappingProxyType({})
) -> Settings:
    """Combine keywords or flags with the environment and the project.

    Args:
        given: settings by name; a string is parsed.
        environ: has the SOCKACT_ variables.
        project: settings by name, for those that are in neither.

    Raises:
        SettingsError: a setting is unknown, or its value cannot be used; says where the value came from.
    """
    _require_known(given, "")
    _require_known(project, "pyproject.toml: ")
    values: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if name in given:
            values[name] = conversion.value_of(name, given[name], field)
        elif variable(name) in environ:
            values[name] = conversion.parsed(variable(name), environ[variable(name)], field)
        elif name in project:
            values[name] = conversion.value_of(f"pyproject.toml: {name}", project[name], field)
    drain_timeout = values.get("drain_timeout")
    if "linger" not in values and drain_timeout is not None:
        # A short drain can be asked for without knowing about `linger`.
        values["linger"] = min(FIELDS["linger"].default, drain_timeout)
    return Settings(**values)


def options(chosen: Settings) -> list[str]:
    """Return the options of `sockact run` for these settings; defaults are left out."""
    result: list[str] = []
    for name, field in FIELDS.items():
        if (value := getattr(chosen, name)) != field.default:
            result += option(name, value)
    return result


def option(name: str, value: object) -> list[str]:
    """Return the command-line words of one setting."""
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{word}" if value else f"--no-{word}"]
    values = value if isinstance(value, tuple | list) else (value,)
    return [f"--{word}={conversion.written(each)}" for each in values]


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return the SOCKACT_ variables that are not settings."""
    known = {variable(name) for name in FIELDS}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _require_known(names: Iterable[str], where: str) -> None:
    """Raise SettingsError if one of `names` is no setting."""
    for name in names:
        if name not in FIELDS:
            hint = similar(name, FIELDS) if isinstance(name, str) else ""
            raise SettingsError(f"{where}unknown setting {conversion.shown(name)}{hint}")
