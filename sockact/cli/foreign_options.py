"""Options that people know from other servers, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sockact.units.servers import SERVERS, Meaning, RequestPart, Setting

_KIND = "the kind of the app is found out; --threads is for WSGI apps"

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "listen": "--listen",
        "uds": "--listen unix:PATH",
        "folder": "--chdir",
        "pythonpath": "--chdir, or PYTHONPATH= in the environment",
        "env_file": "--env-file",
        "variable": "--env-file, or Environment= in the unit",
        "certificate": "--tls-certificate",
        "key": "--tls-key",
        "proxies": "--trusted-proxies",
        "proxy_headers": "--trusted-proxies ADDRESS",
        "proxy_protocol": "--proxy-protocol NAME, with --trusted-proxies",
        "access_log": "--access-log",
        "access_format": "--access-log-format",
        "no_access_log": "--no-access-log",
        "error_log": "the log goes to stderr, or to the journal",
        "loop": "--loop",
        "user": "User= or DynamicUser= in the unit",
        "group": "Group= in the unit",
        "worker_class": _KIND,
        "interface": _KIND,
        "deflate": "--websocket-compression",
        "uvicorn_level": "--log-level",
        "no_proxies": "none is trusted without --trusted-proxies",
    }
)
"""The options here for parts of a service that are not a setting there; see `sockact.units.servers`."""

OWN: Mapping[str, str] = MappingProxyType(
    {
        "--reload": "`sockact dev` reloads when a file changes",
        "--check-config": "`sockact check-app`",
        "-H": "--listen",
        "-P": "--listen",
    }
)
"""Options for which there is more to say than in the tables of the servers."""


def explain(option: str, values: Mapping[str, str], known: Sequence[str]) -> str:
    """Return what an unknown option is called here.

    Args:
        option: the option, as it was written.
        values: unknown options of the same command line, with their values.
        known: the options of the command.

    Returns:
        The end of a message; empty if there is nothing to say.
    """
    if "--listen" not in known:
        return ""  # a command that serves no app
    if option in ("--host", "--port"):
        host, port = values.get("--host") or "127.0.0.1", values.get("--port") or "8000"
        return f": here it is --listen {f'[{host}]' if ':' in host else host}:{port}"
    told = OWN.get(option) or _told(option)
    if not told.startswith("--"):
        return f": {told}" if told else ""
    value = values.get(option, "")
    return f": here it is {told}{f' {value}' if value and told in known else ''}"


def _told(option: str) -> str:
    for server in SERVERS.values():
        for each in server.options:
            if option in each.names.split():
                return _in_words(each.meaning)
    return ""


def _in_words(meaning: Meaning) -> str:
    if isinstance(meaning, Setting):
        return f"--{meaning.name.replace('_', '-')}"
    if isinstance(meaning, RequestPart):
        return PARTS[meaning.name]
    return meaning.why
