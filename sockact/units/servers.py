"""The options of other servers, and what each is here: a setting, a part of a unit, or nothing.

Each server has a table; a line has the option's names, the words it takes, and one of

    Setting(name)      a setting of sockact with the same value
    RequestPart(name)  a part of the request, which `carrying` knows: an address, a user, a certificate
    Left(why)          not carried over, and the reason
    Needless(why)      needs nothing here
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of sockact with the same meaning; `note` says how it differs."""

    name: str
    note: str = ""
    convert: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class RequestPart:
    """A part of the request that is more than one setting."""

    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """An option that is not carried over."""

    why: str


@dataclass(frozen=True, slots=True)
class Needless:
    """An option whose purpose is met without it."""

    why: str


Meaning = Setting | RequestPart | Left | Needless


@dataclass(frozen=True, slots=True)
class ServerOption:
    """An option of another server: its names, whether a value follows, its meaning."""

    names: str
    takes_value: bool
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class OtherServer:
    """Another server: its name, its options, and what it does without any.

    Attributes:
        name: the name of its program.
        options: its options.
        attribute: the attribute of an app that names none; "": there must be one.
        listen: the address on which it listens if it is told none.
        defaults: settings that it has by default, where sockact's default differs.
        trusts: the proxies that it trusts by default.
    """

    name: str
    options: Sequence[ServerOption]
    attribute: str = ""
    listen: str = "127.0.0.1:8000"
    defaults: Sequence[tuple[str, str]] = ()
    trusts: str = ""


def _zero_is_none(value: str) -> str:
    return "none" if value.strip() in ("0", "0.0") else value


def _valued(names: str, meaning: Meaning) -> ServerOption:
    return ServerOption(names, True, meaning)


def _flag(names: str, meaning: Meaning) -> ServerOption:
    return ServerOption(names, False, meaning)


_SYSTEMDS = "systemd does that"
_DEVELOPMENT = Left("for development: a reload here is `systemctl reload`")
_OWN_LOG = Left("the log goes to the journal: journalctl -u NAME")
_SAME = Needless("it is so anyway")
_APPS_LOGGING = Left("the app configures its own logging")
_PROGRAM = Left("it is a program, and not read: docs/settings.md has the names of its settings here")
_METRICS = Left("`sockact status --prometheus` has the metrics")
_CONCURRENCY = Left("its clients get a 503; with max_connections they wait in the queue")
_WATCHDOG = Setting(
    "worker_watchdog",
    "it watches the event loop: a request that takes long in a thread is not ended",
    _zero_is_none,
)
_CERTIFICATE = _valued("--certfile --ssl-certfile --ssl-certificate", RequestPart("certificate"))
_KEY = _valued("--keyfile --ssl-keyfile", RequestPart("key"))
_PASSWORD = _valued("--keyfile-password --ssl-keyfile-password", Left("expected a key without a password"))
_CIPHERS = _valued("--ciphers --ssl-ciphers", Left("the ciphers are those of docs/tls.md"))
_FORWARDED = _valued("--forwarded-allow-ips", RequestPart("proxies"))

GUNICORN = OtherServer(
    "gunicorn",
    (
        _valued("-b --bind", RequestPart("listen")),
        _valued("-w --workers", Setting("workers")),
        _valued("-k --worker-class", RequestPart("worker_class")),
        _valued("--threads", Setting("threads")),
        _valued("-t --timeout", _WATCHDOG),
        _valued("--graceful-timeout", Setting("drain_timeout")),
        _valued("--keep-alive", Setting("keep_alive")),
        _valued("--max-requests", Setting("max_requests")),
        _valued("--max-requests-jitter", Needless("it is a tenth of max_requests")),
        _valued("--worker-connections", Left("max_connections limits each worker")),
        _valued("--chdir", RequestPart("folder")),
        _valued("--pythonpath", RequestPart("pythonpath")),
        _valued("-e --env", RequestPart("variable")),
        _valued("-u --user", RequestPart("user")),
        _valued("-g --group", RequestPart("group")),
        _valued("-m --umask", Left("UMask= in the unit is 0077")),
        _valued("--access-logfile", RequestPart("access_log")),
        _valued("--access-logformat", RequestPart("access_format")),
        _valued("--error-logfile --log-file", RequestPart("error_log")),
        _valued("--log-level", Setting("log_level", convert=str.lower)),
        _valued("--log-config --log-config-json --logger-class", _APPS_LOGGING),
        _flag("--capture-output --log-syslog", Needless("all output is in the journal")),
        _valued("--log-syslog-to --log-syslog-prefix --log-syslog-facility", _OWN_LOG),
        _valued("-c --config", _PROGRAM),
        _flag("--reload", _DEVELOPMENT),
        _valued("--reload-engine --reload-extra-file", _DEVELOPMENT),
        _flag(
            "--preload",
            Setting("preload", "a reload imports the app anew; the import must leave no connections"),
        ),
        _flag("-D --daemon", Needless(_SYSTEMDS)),
        _valued("-p --pid", Needless(_SYSTEMDS)),
        _valued("-n --name", Needless("the unit has a name")),
        _valued("--worker-tmp-dir", Needless("workers are watched without files")),
        _valued("--backlog", Needless("Backlog=4096 in the socket unit")),
        _flag("--reuse-port", Left("each such socket has its own queue, which is lost when it is closed")),
        _flag("--proxy-protocol", RequestPart("proxy_protocol")),
        _valued("--proxy-allow-from", RequestPart("proxies")),
        _FORWARDED,
        _valued("--limit-request-line --limit-request-fields", Left("max_header_bytes limits the headers")),
        _valued("--limit-request-field_size", Left("max_header_bytes limits all headers together")),
        _valued("--statsd-host --statsd-prefix --dogstatsd-tags", _METRICS),
        _flag("--no-sendfile --initgroups --disable-redirect-access-to-syslog", _SAME),
        _valued("--root-path", Setting("root_path")),
        _valued("--asgi-loop", RequestPart("loop")),
        _valued("--asgi-lifespan", Setting("lifespan")),
        _valued("--websocket-max-message-size", Setting("websocket_max_message")),
        _flag("-R --enable-stdio-inheritance --no-control-socket", _SAME),
        _valued("--control-socket --control-socket-mode", Needless("the control socket is in /run/NAME")),
        _valued("--ca-certs", Setting("tls_client_ca")),
        _valued("--cert-reqs --ssl-version", Left("with tls_client_ca a certificate is required")),
        _CERTIFICATE,
        _KEY,
        _CIPHERS,
        _valued("--paste", Left("expected a module with the app")),
    ),
    attribute="application",
    trusts="127.0.0.1,::1",
)

UVICORN = OtherServer(
    "uvicorn",
    (
        _valued("--host", RequestPart("host")),
        _valued("--port", RequestPart("port")),
        _valued("--uds", RequestPart("uds")),
        _valued("--fd", Needless("systemd passes the socket")),
        _valued("--workers", Setting("workers")),
        _flag("--factory", Setting("factory")),
        _valued("--app-dir", RequestPart("folder")),
        _valued("--root-path", Setting("root_path")),
        _valued("--env-file", RequestPart("env_file")),
        _flag("--proxy-headers", _SAME),
        _flag("--no-proxy-headers", RequestPart("no_proxies")),
        _FORWARDED,
        _valued("--timeout-graceful-shutdown", Setting("drain_timeout")),
        _valued("--timeout-keep-alive", Setting("keep_alive")),
        _valued("--timeout-worker-healthcheck", _WATCHDOG),
        _valued("--limit-concurrency", _CONCURRENCY),
        _valued("--limit-max-requests", Setting("max_requests")),
        _valued("--limit-max-requests-jitter", Needless("it is a tenth of max_requests")),
        _valued("--backlog", Needless("Backlog=4096 in the socket unit")),
        _valued("--loop", RequestPart("loop")),
        _valued("--http --ws", Needless("there is one implementation")),
        _valued("--ws-max-size", Setting("websocket_max_message")),
        _valued("--ws-ping-interval", Setting("websocket_ping_interval")),
        _valued("--ws-ping-timeout", Setting("websocket_ping_timeout")),
        _valued("--ws-max-queue", Needless("a WebSocket's messages wait in the kernel")),
        _valued("--ws-per-message-deflate", RequestPart("deflate")),
        _valued("--lifespan", Setting("lifespan")),
        _valued("--interface", RequestPart("interface")),
        _valued("--log-level", RequestPart("uvicorn_level")),
        _valued("--log-config", _APPS_LOGGING),
        _flag("--access-log", _SAME),
        _flag("--no-access-log", RequestPart("no_access_log")),
        _flag("--use-colors --no-use-colors", Needless("the log is the journal")),
        _flag("--server-header --no-server-header --date-header --no-date-header", Left("no such setting")),
        _valued("--header", Left("no such setting: the app or a proxy can add it")),
        _valued("--h11-max-incomplete-event-size", Setting("max_header_bytes")),
        _flag("--reload", _DEVELOPMENT),
        _valued("--reload-dir --reload-include --reload-exclude --reload-delay", _DEVELOPMENT),
        _valued("--ssl-ca-certs", Setting("tls_client_ca")),
        _valued("--ssl-version --ssl-cert-reqs", Left("with tls_client_ca a certificate is required")),
        _CERTIFICATE,
        _KEY,
        _PASSWORD,
        _CIPHERS,
    ),
    defaults=(("access_log", "yes"),),
    trusts="127.0.0.1",
)

HYPERCORN = OtherServer(
    "hypercorn",
    (
        _valued("-b --bind", RequestPart("listen")),
        _valued("-w --workers", Setting("workers")),
        _valued("-k --worker-class", RequestPart("loop")),
        _valued("--graceful-timeout", Setting("drain_timeout")),
        _valued("--keep-alive", Setting("keep_alive")),
        _valued("--max-requests", Setting("max_requests")),
        _valued("--root-path", Setting("root_path")),
        _valued("--access-logfile --access-log", RequestPart("access_log")),
        _valued("--error-logfile --error-log --log-file", RequestPart("error_log")),
        _valued("--log-level", Setting("log_level", convert=str.lower)),
        _valued("-c --config", Left("its settings have names in docs/settings.md")),
        _valued("--insecure-bind --quic-bind", Left("expected --listen http=80; there is no HTTP/3")),
        _valued("-p --pid", Needless(_SYSTEMDS)),
        _valued("-u --user", RequestPart("user")),
        _valued("-g --group", RequestPart("group")),
        _valued("--backlog", Needless("Backlog=4096 in the socket unit")),
        _flag("--reload", _DEVELOPMENT),
        _valued("--websocket-ping-interval", Setting("websocket_ping_interval")),
        _valued("--ca-certs", Setting("tls_client_ca")),
        _CERTIFICATE,
        _KEY,
        _PASSWORD,
        _CIPHERS,
    ),
    attribute="app",
)

GRANIAN = OtherServer(
    "granian",
    (
        _valued("--host", RequestPart("host")),
        _valued("--port", RequestPart("port")),
        _valued("--uds", RequestPart("uds")),
        _valued("--interface", RequestPart("interface")),
        _valued("--workers", Setting("workers")),
        _valued("--blocking-threads", Setting("threads")),
        _valued("--backlog", Needless("Backlog=4096 in the socket unit")),
        _valued("--url-path-prefix", Setting("root_path")),
        _valued("--working-dir", RequestPart("folder")),
        _valued("--env-files", RequestPart("env_file")),
        _valued("--log-level", Setting("log_level")),
        _flag("--access-log", Setting("access_log")),
        _flag("--factory", Setting("factory")),
        _flag("--reload", _DEVELOPMENT),
        _flag("--no-ws --ws --http1-keep-alive", _SAME),
        _valued("--http", Left("HTTP/1.1 alone")),
        _valued("--loop", RequestPart("loop")),
        _valued("--process-name", Needless("the unit has a name")),
        _CERTIFICATE,
        _KEY,
    ),
)

DAPHNE = OtherServer(
    "daphne",
    (
        _valued("-b --bind", RequestPart("host")),
        _valued("-p --port", RequestPart("port")),
        _valued("-u --unix-socket", RequestPart("uds")),
        _valued("--fd", Needless("systemd passes the socket")),
        _valued("-e --endpoint", Left("expected --listen")),
        _valued("-v --verbosity", Left("log_level is the setting")),
        _valued("-t --http-timeout", Left("no such setting: the app can limit itself")),
        _valued("--access-log", RequestPart("access_log")),
        _valued("--root-path", Setting("root_path")),
        _valued("--application-close-timeout", Setting("shutdown_timeout")),
        _flag("--proxy-headers", RequestPart("proxy_headers")),
        _valued("--ping-interval --websocket_timeout --ping-timeout", Left("see websocket_ping_interval")),
    ),
)

SERVERS = {each.name: each for each in (GUNICORN, UVICORN, HYPERCORN, GRANIAN, DAPHNE)}
"""The servers whose command lines are understood, by the name of their program."""
