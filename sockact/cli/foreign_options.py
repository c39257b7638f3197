"""Options that people know from other servers, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SAME: Mapping[str, str] = MappingProxyType(
    {
        "--bind": "--listen",
        "-b": "--listen",
        "--uds": "--listen unix:PATH",
        "--app-dir": "--chdir",
        "--timeout": "--worker-watchdog",
        "-t": "--worker-watchdog",
        "--graceful-timeout": "--drain-timeout",
        "--timeout-graceful-shutdown": "--drain-timeout",
        "--workers-kill-timeout": "--drain-timeout",
        "--timeout-keep-alive": "--keep-alive",
        "--limit-concurrency": "--max-connections",
        "--worker-connections": "--max-connections",
        "--limit-max-requests": "--max-requests",
        "--blocking-threads": "--threads",
        "--forwarded-allow-ips": "--trusted-proxies",
        "--proxy-headers": "--trusted-proxies ADDRESS",
        "--proxy-allow-from": "--proxy-protocol and --trusted-proxies",
        "--certfile": "--tls-certificate",
        "--ssl-certfile": "--tls-certificate",
        "--ssl-certificate": "--tls-certificate",
        "--keyfile": "--tls-key",
        "--ssl-keyfile": "--tls-key",
        "--ca-certs": "--tls-client-ca",
        "--ssl-ca-certs": "--tls-client-ca",
        "--access-logfile": "--access-log",
        "--pid": "--pid-file",
        "-p": "--pid-file",
        "--pidfile": "--pid-file",
        "--env": "--env-file, or Environment= in the unit",
        "-e": "--env-file, or Environment= in the unit",
        "--ws-max-size": "--websocket-max-message",
        "--ws-ping-interval": "--websocket-ping-interval",
        "--ws-ping-timeout": "--websocket-ping-timeout",
        "--url-path-prefix": "--root-path",
        "--check-config": "`sockact check-app`",
    }
)
"""Options of uvicorn, gunicorn, hypercorn and granian, and those that mean the same here."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "--reload": "`sockact dev` reloads when a file changes",
        "--worker-class": "not needed: the kind of the app is found out, and --threads is for WSGI apps",
        "-k": "not needed: the kind of the app is found out, and --threads is for WSGI apps",
        "--interface": "not needed: the kind of the app is found out (--kind, if its signature hides it)",
        "--preload": "not needed to save the start: a reload starts new workers before the old ones end",
        "--daemon": "systemd keeps it running: see `sockact units`",
        "-D": "systemd keeps it running: see `sockact units`",
        "--user": "User= or DynamicUser= in the unit",
        "-u": "User= or DynamicUser= in the unit",
        "--group": "Group= in the unit",
        "-g": "Group= in the unit",
        "--name": "the unit's name",
        "-n": "the unit's name",
        "--fd": "not needed: sockets that systemd passes are found by LISTEN_FDS",
        "--backlog": "Backlog= in the socket unit",
        "--umask": "UMask= in the unit",
        "--config": "settings stand in pyproject.toml, in variables, or in options",
        "-c": "settings stand in pyproject.toml, in variables, or in options",
        "--log-config": "the app configures its own logging; --log-level is for sockact's",
        "--max-requests-jitter": "not needed: --max-requests varies by a tenth by itself",
    }
)
"""Those that are not options here, and the reason, or the place."""


def explain(option: str, values: Mapping[str, str], known: Sequence[str]) -> str:
    """Return what an unknown option is called here.

    Args:
        option: the option, as it was written.
        values: unknown options of the same command line, with their values.
        known: the options of the command.

    Returns:
        The end of a message; empty if there is nothing to say.
    """
    if option in ("--host", "--port", "-H", "-P") and "--listen" in known:
        host = values.get("--host") or values.get("-H") or "127.0.0.1"
        port = values.get("--port") or values.get("-P") or "8000"
        return f": here it is --listen {f'[{host}]' if ':' in host else host}:{port}"
    if (same := SAME.get(option)) is not None and same.split()[0].rstrip(",") in {*known, "`sockact"}:
        value = values.get(option, "")
        return f": here it is {same}{f' {value}' if value and ' ' not in same else ''}"
    if option in ELSEWHERE:
        return f": {ELSEWHERE[option]}"
    return ""
