"""What other programs for graceful restarts offer, the races in them, and where each went here.

`python -m tests.features` makes docs/coming-from.md of this and of the marks in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A row of one of the tables.

    Attributes:
        what: the feature or the race, in a few words.
        where: where it went: a setting, a command, an option of the units; or why it is not needed.
        untested: why no test is needed; "" where there has to be one.
    """

    what: str
    where: str
    untested: str = ""


def unneeded(what: str, why: str) -> Row:
    """Return a row of something that nobody needs here."""
    return Row(what, f"not needed: {why}", why)


PENDING: tuple[str, ...] = ()
"""Rows whose tests are still to come. None of them has a test: what has one is to be taken out of here."""

_FETCH = "a timer of systemd with a program that fetches, then `systemctl reload` (see deploy.md)"

FEATURES: dict[int, Row] = {
    1: Row(
        "binding at the first start", "the socket unit (`ListenStream=`); `listen` where none was passed"
    ),
    2: Row("sockets inherited by position", "LISTEN_FDS, from descriptor 3 on, each with its name"),
    3: Row(
        "LISTEN_FDS without the rest",
        "the whole protocol: LISTEN_PID, LISTEN_FDNAMES, close-on-exec, nothing left in the environment",
    ),
    4: Row(
        "an inherited socket for an address",
        "`FileDescriptorName=` and `web=app:app`, or `127.0.0.1:8001=app:app` where two sockets of a unit "
        "share a name; one too many or too few shows both sides",
    ),
    5: Row("an order of sockets in the environment", "names instead; one that is unknown is an error"),
    6: Row(
        "several listeners",
        "several `Listen…=` lines or socket units; `serve({'web': app, 'admin': other})`",
    ),
    7: Row("Unix sockets", "`ListenStream=/run/x.sock`; never unlinked and never chmodded"),
    8: Row(
        "datagrams, sequential packets",
        "`adopt()`, and handlers in `serve`; none is read once the drain begins",
    ),
    9: Row("IPv4 only", "an IPv4 address in the socket unit or in `listen`; `BindIPv6Only=`"),
    10: Row(
        "another address needs a restart",
        "restart the socket unit; `sockact status UNIT` says when what it lists and what is held differ",
    ),
    11: Row("sockets that nobody asked for", "`unused`: an error, closed, or kept"),
    12: Row(
        "TCP keep-alive", "`KeepAlive=yes`, `KeepAliveTimeSec=` in the socket unit; connections inherit it"
    ),
    13: Row("TLS", "`tls_certificate`, `tls_key`, `tls_client_ca`; new certificates with a reload"),
    14: Row(
        "serving standard input, FastCGI", "`Accept=yes` or `StandardInput=socket`; FastCGI is not needed"
    ),
    15: Row("a listener of the caller's", "`serve(app, sock=…)`"),
    16: Row(
        "the same command for the new process",
        "each worker is a new interpreter with the service's command",
    ),
    17: Row("arguments lost on the way", "arguments stay"),
    18: Row("a child marked by a flag", "private variables, gone before the app runs"),
    19: Row("a child marked by the environment", "the same; no child of the app inherits them"),
    20: Row(
        "working directory", "`chdir` or `WorkingDirectory=`, symbolic links resolved again at each start"
    ),
    21: Row("standard streams", "inherited; systemd connects them to the journal"),
    22: Row(
        "one fork ever", "one reload at a time, as many as you like; a failed one does not prevent the next"
    ),
    23: Row("servers of one process compete for a signal", "one main process handles signals"),
    24: Row("hook before the successor starts", "`hooks.on_reload`; an exception refuses the reload"),
    25: Row("what a failed start of it does", "the reload fails and says why; the old workers serve on"),
    26: Row("initialisation twice", "the supervisor imports nothing of the app"),
    27: unneeded(
        "Windows and others",
        "systemd runs on Linux alone, and so does systemd-python, without which sockact is not installed",
    ),
    28: Row(
        "degrading to a plain run",
        "without sockets `listen` is bound, and said; `require_activation` forbids it",
    ),
    29: Row("a variant that returns errors", "exceptions of the library; the command's exit statuses"),
    30: Row("who am I", "`sockact.role()`, `sockact.activated()`"),
    31: Row(
        "the child ends its parent before it serves",
        "no signals between generations: the new one says READY=1",
    ),
    32: Row("the child ends its parent after it serves", "READY=1 when the app has started and accepts"),
    33: Row("the child ends a PID from the environment", "the supervisor, by pidfd"),
    34: Row("old stops, then new starts", "never: the two overlap"),
    35: Row("no readiness at all", "never"),
    36: unneeded("guard of the parent's PID", "no process ends its parent"),
    37: Row("limit of the start", "`start_timeout`; then the new one is ended, the old one stays"),
    38: Row("death before readiness", "the reload fails at once, with the exit status or the error"),
    39: Row(
        "warm-up",
        "the lifespan's startup, then `warmup_path`: nothing is accepted, and nobody drains, before these"
        " are done",
    ),
    40: Row("state over generations", "`handover` and `FileDescriptorStoreMax=` for connections"),
    41: Row("restart from code", "`sockact.request_reload()`"),
    42: Row(
        "start time, id and path of the program",
        "`sockact status`; `version`, also in STATUS= and `version_header`",
    ),
    43: Row("HUP restarts", "HUP reloads (also what `Type=notify-reload` sends)"),
    44: Row("USR2 restarts", "USR2 reloads while serving"),
    45: Row("USR1 reloads too", "HUP and USR2 do; USR1 is for the app's hooks"),
    46: Row("INT and TERM stop", "the same"),
    47: Row("USR2 forces a stop under way", "the same: `systemctl kill -s USR2 --kill-whom=main app`"),
    48: Row("USR1, TSTP for hooks alone", "passed on to the workers; TSTP halts nothing"),
    49: Row("hooks before and after a signal", "`hooks.before_signal`, `hooks.after_signal`"),
    50: Row(
        "a second INT or TERM",
        "a second INT ends at once; a second TERM if a second later; workers ignore it",
    ),
    51: Row("all signals passed on", "USR1 and TSTP are"),
    52: Row("signals while there is no child", "always an answer: a stop stops, a reload reloads"),
    53: Row(
        "signals lost while busy", "none: those before the event loop are remembered, requests are merged"
    ),
    54: Row("crash signals as a stop", "a crash is a crash; `Restart=on-failure`"),
    55: Row("watchdog", "`WatchdogSec=`, and `worker_watchdog` for each worker"),
    56: Row("drain of requests in flight", "each worker counts, and waits for the last one"),
    57: Row(
        "idle connections closed at once",
        "they move to the next process (`handover`), or stay for `linger`",
    ),
    58: Row("idle connections kept until a timeout", "closed after `linger`, without a reset"),
    59: Row(
        "connections without a byte yet",
        "in a drain may bring one request, and are closed after `linger`; else after `header_timeout`",
    ),
    60: Row(
        "keep-alive off in the drain", "`Connection: close` with the last response, where nothing moves"
    ),
    61: unneeded("GOAWAY of HTTP/2", "HTTP/1.1 and WebSocket are served; HTTP/2 ends at the proxy"),
    62: Row("hijacked connections, WebSockets", "a close frame with 1012, and time to answer it"),
    63: Row(
        "limit of a stop",
        "`drain_timeout`, one clock for all; `EXTEND_TIMEOUT_USEC` tells systemd, so that `TimeoutStopSec=`"
        " may be shorter and need not be checked",
    ),
    64: Row("the hammer", "`drain_timeout`: seconds, 0 at once, none never; a log line for each victim"),
    65: Row(
        "force in two stages", "requests cancelled, connections closed, workers killed by the supervisor"
    ),
    66: Row("kill of a stuck process", "by the supervisor, through a pidfd; `TimeoutStopSec=` behind it"),
    67: Row(
        "overall limit", "`drain_timeout` and `shutdown_timeout`; more time is asked for within these alone"
    ),
    68: Row(
        "read, write and header limits",
        "`header_timeout`, `body_timeout`, `write_timeout`, `max_header_bytes`, `max_body_bytes`",
    ),
    69: Row("stopping twice", "is stopping once"),
    70: Row("a stop during a reload", "ends the new workers, then the old ones"),
    71: Row("watching the parent", "a connection whose end the kernel signals: workers drain at once"),
    72: Row(
        "exit of a worker", "replaced, with growing pauses; with `workers=0` its status is the service's"
    ),
    73: Row("a worker's error ends the service", "never"),
    74: Row("exit status after a stop", "0, when the workers have gone"),
    75: Row("main waits for the drain", "it is the last to end"),
    76: Row("return after the drain", "`serve` returns after it (in a worker)"),
    77: Row("hook before serving", "`hooks.on_start`; `sockact.addresses()` says where"),
    78: Row("hooks after the start, before the stop", "`hooks.on_ready`, `hooks.on_drain`"),
    79: Row("list of stop callbacks", "`hooks.on_stop`, in the order of registration"),
    80: Row("hooks that are not waited for", "both kinds: `sockact.background` and hooks with a `timeout`"),
    81: Row("steps of a stop", "lame duck, stop accepting, drain, release, close; the hammer for all"),
    82: Row("timeout of each hook", "`timeout=30` of each hook"),
    83: Row("errors of hooks", "logged and shown in STATUS=; the stop goes on"),
    84: Row("an error for a hook's timeout", "a log line that names the hook"),
    85: Row("several servers stop in parallel", "all listeners at once, one deadline"),
    86: Row("counting requests", "in the worker, from its headers to the end of its task"),
    87: Row(
        "rejecting requests while closing", "`drain_mode='refuse'`: 503 with Retry-After, in a stop alone"
    ),
    88: Row("lame duck", "`drain_delay`, `ready_path`"),
    89: Row("releasing resources last", "`hooks.on_exit`, and the lifespan's shutdown"),
    90: Row("background tasks in the drain", "`sockact.background(coroutine)`"),
    91: Row("a server that cannot start", "the start fails, with its reason in STATUS= and in the log"),
    92: Row(
        "fetching new releases", "outside: a path or timer unit that reloads the service (see deploy.md)"
    ),
    93: Row("watching a file", "`units/app-deploy.path` and its service; once when it has settled"),
    94: unneeded("fetching by HTTP", _FETCH),
    95: unneeded("fetching from GitHub", _FETCH),
    96: unneeded("fetching from S3", _FETCH),
    97: unneeded("fetching by a function", _FETCH),
    98: unneeded(
        "least time between two fetches", "`OnUnitActiveSec=`, `RandomizedDelaySec=` of that timer"
    ),
    99: Row("the same code again", "`units/app-deploy.service` deploys no release a second time"),
    100: Row("veto before an upgrade", "`hooks.on_reload`, or a first line `ExecReload=`"),
    101: Row("sanity check of the new program", "`sockact check-app`, and before each reload"),
    102: Row("replacing the program's file", "releases behind a symbolic link; sockact writes no code"),
    103: unneeded("restart that is a stop", "`systemctl stop` and `systemctl restart` are two commands"),
    104: unneeded("fetch without a restart", "a fetching unit without the last step"),
    105: Row("verbosity", "`log_level`; entries of the journal have their priority"),
    106: Row("no way back", "the old workers serve until the new ones have lived for `probation`"),
    107: Row("a main PID that stays", "the supervisor's"),
    108: Row("a main PID that moves", "does not, also with `workers=0`"),
    109: Row("PID file", "`pid_file`, for managers other than systemd"),
    110: Row("statistics", "`sockact status`, `--json`, `--prometheus`; STATUS="),
    111: Row("a clock for tests", "the fleet gets the time as an argument"),
    112: Row("callbacks of the user still called", "frameworks' apps are served as they are"),
    113: Row("logger", "records with generation, worker, PID and phase"),
    114: Row("one line to use it", "`sockact.serve(app)`, `sockact run app:app`"),
    115: Row("configuration", "keyword, option, variable, pyproject.toml; one name"),
    116: Row("reload from a handler", "as F41", "the same as F41"),
    117: Row("behind a load balancer", "no connection of a proxy ends with a reload or restart; see below"),
    118: Row("one after the other behind a proxy", "`units/app@.service`, and rolling.md"),
}

RACES: dict[int, Row] = {
    1: Row(
        "an idle connection closes while a request is on its way",
        "it moves, open; else it may bring one more request",
    ),
    2: Row("keep-alive was promised, then the drain begins", "the connection counts as idle: the same"),
    3: Row("accepted, not read, closed", "what was accepted may bring its request for `linger`"),
    4: Row("the last holder of a listener closes it", "systemd holds it; over a reload it is passed on"),
    5: Row("SO_REUSEPORT: a queue closes with its socket", "one socket for all workers"),
    6: Row("shutdown(2) of a shared listener", "never; accepting is stopped in the event loop"),
    7: Row("O_NONBLOCK is shared", "set again after the app was loaded"),
    8: Row("ghost events after close(2)", "taken out of epoll before"),
    9: Row("old stops before new serves", "the two overlap"),
    10: Row("ready too early", "READY=1 when the app has started, and `probation`"),
    11: Row("never ready", "`start_timeout`"),
    12: Row("a failed start ends the old one", "nothing in a reload ends the service"),
    13: Row("a failed reload prevents the next", "it does not"),
    14: Row("a new worker's failure ends the service", "it ends the reload"),
    15: Row("two reloads overlap", "one after the other; all that come meanwhile are one"),
    16: Row("a signal before its handler", "workers are started with their signals blocked"),
    17: Row("a signal is lost", "each is an event in a queue"),
    18: Row("the wrong process is signalled", "pidfd"),
    19: Row("TERM is not graceful", "it is, also for the supervisor, which waits"),
    20: Row("main ends before its workers", "it ends last"),
    21: Row("the hammer hits healthy connections", "as R1: they have moved or ended before"),
    22: Row("the hammer panics", "exit status 0, a log line for each connection, no traceback"),
    23: Row("a hook blocks or raises", "timeout and isolation of each hook"),
    24: Row("the counter of requests goes wrong", "tasks are counted, which end on every path"),
    25: Row("errors for clients in a reload", "none: nobody is rejected, and nobody waits"),
    26: Row("requests still come when the stop has begun", "`drain_delay`"),
    27: Row("STOPPING=1 of an old worker", "workers speak to the supervisor; it is not passed on"),
    28: Row("RELOADING=1 without an end", "READY=1 in every outcome"),
    29: Row(
        "systemd's timeout is shorter than the drain",
        "EXTEND_TIMEOUT_USEC, as long as `drain_timeout` allows",
    ),
    30: Row(
        "workers get systemd's TERM too", "`KillMode=mixed`; they drain, and none is replaced in a stop"
    ),
    31: Row("the old one unlinks the Unix socket", "never unlinked"),
    32: Row("descriptors leak to children", "close-on-exec; only workers get them"),
    33: Row("inherited, and never accepted", "`unused`"),
    34: Row("the wrong socket for an app", "names"),
    35: Row(
        "a reset destroys the last response",
        "the peer's end is waited for: `linger` long by a WebSocket, for 2 s of silence else",
    ),
    36: Row("the event loop hangs in the drain", "the supervisor kills the worker"),
    37: Row("a changed environment is not seen", "`env_file` is read again for each generation"),
    38: Row("a deploy under a running worker", "the release is resolved when the worker starts"),
    39: Row("old generations pile up", "`max_draining`"),
    40: Row("new workers die right after they were ready", "`probation`"),
    41: Row(
        "a stopped service is started by its socket",
        "stop both units; `StartLimitIntervalSec=0` and `TriggerLimitBurst=` keep the socket",
    ),
    42: Row("a client stays with the old version", "its connection moves with its next response"),
}

INTRODUCTION = """\
# Coming from another program

What programs for graceful restarts offer, and where it is here: endless, grace and httpdown, overseer,
graceful, beego, tableflip in Go; gunicorn and uvicorn in Python; Puma in Ruby. The rows have numbers, by
which the tests are marked: `pytest -m F47` runs those of F47. Made by `python -m tests.features`, from the
marks and from tests/features/rows.py; a test compares it.

## From endless

`endless.ListenAndServe(addr, handler)` becomes `sockact.serve(app)`. HUP reloads, USR2 in a stop is the
hammer (`DefaultHammerTime` is `drain_timeout`; -1 is `none`), as you know them. `ENDLESS_SOCKET_ORDER`
becomes names (F5). Nothing forks, so that no failed child prevents the next reload (F22), and the main PID
stays (F108): no PID file is needed.

## From grace and httpdown

`gracehttp.Serve(a, b)` becomes several sockets, and `serve({"web": a, "admin": b})`. `StopTimeout` and
`KillTimeout` are `drain_timeout` and `shutdown_timeout`. What `PreStartProcess` did belongs into the hook
`on_reload`, whose failure refuses the reload (F24). The counters of `Stats` are in `sockact status` (F110).

## From overseer

The master is the supervisor, the slave a worker; no environment variable tells them apart for your code.
`Fetcher`s are units beside the service (F92-F98), the sanity check is `sockact check-app` (F101),
`TerminateTimeout` is `drain_timeout`, and `Restart()` is `request_reload()` (F41). The new program starts
beside the old one, not after it (F34), and idle connections do not stay with it until the timeout (F58).

## From graceful

`WithStopTimeout` is `drain_timeout`, one clock for all servers (F63); `WithWatchInterval` is not needed
(F71). HUP reloads, USR1 does not: it is yours (F45). A reload during a reload waits for it (R15). Unix
sockets are systemd's, and are not unlinked (F7).

## From beego's grace

`DefaultTimeout` is `drain_timeout`, `RegisterSignalHook` becomes the hooks `before_signal` and
`after_signal` (F49), `BeforeShutdown` is `on_drain` (F78). `EnableStdIo` is `StandardInput=socket` (F14).
Background tasks for which a stop waits: `sockact.background` (F90).

## From tableflip

`Upgrade()` is a reload, `Ready()` happens when the app has started (F32), `UpgradeTimeout` is
`start_timeout` (F37). The main PID does not move, so that `PIDFile` serves other managers alone (F109).
Unused sockets are an error unless you say otherwise (F11).

## From gunicorn

| gunicorn | here |
|---|---|
| `--bind` | the socket unit; `listen` without one |
| `--workers`, TTIN, TTOU | `workers`; the same signals |
| `--graceful-timeout` | `drain_timeout` |
| `--timeout` | `worker_watchdog` |
| `--keep-alive` | `keep_alive` |
| `--max-requests`, with jitter | `max_requests`; the jitter is a tenth |
| `--threads` | `threads`, for WSGI apps |
| `--chdir`, `--access-logfile -`, `--log-level` | `chdir`, `access_log`, `log_level` |
| HUP | HUP, or `systemctl reload`, which fails when the new code does |
| USR2, then WINCH and QUIT | the same reload: both run side by side until the new one has proved itself |

gunicorn itself can stay, too: `sockact run -- gunicorn …` supervises it.

## From uvicorn

`uvicorn app:app --workers 4` becomes `sockact run --workers 4 app:app`; the protocols are uvicorn's own.
`--timeout-graceful-shutdown` is `drain_timeout`, `--timeout-keep-alive` is `keep_alive`,
`--limit-max-requests` is `max_requests`, `--factory` and `--lifespan` are called the same. An app that
fails in its startup is not served, with `lifespan=auto` neither (F91); connections that were accepted and
have not sent their request are not closed in a stop (R3).

## From Puma

`bind` and socket activation are the socket unit; `workers` and `threads` are called the same. A phased
restart and a hot restart (USR1 and USR2 there) are both a reload: by default all new workers first, with
`surge=1` one after the other; connections stay open in both. `worker_timeout` is `worker_watchdog`. Its
hooks, `on_worker_boot` and its like, are the lifespan's startup or `on_start`, in each worker.

## Behind a load balancer

A balancer hides a restart from newcomers, and from nobody else: what is in flight when a server ends is
lost, and it learns of the end by a failed request. So the drain is needed there too, and `drain_delay`
while it still sends (R26). The balancer's own kept connections need not be opened anew (F117).
"""
