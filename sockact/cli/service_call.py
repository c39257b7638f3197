"""Finds the service that a command is for, and asks it over its control socket."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sockact.config import values
from sockact.errors import UnavailableError, UsageError
from sockact.protocols import control, control_address
from sockact.system import proc
from sockact.systemd.systemctl import Located
from sockact.untrusted.number import decimal
from sockact.untrusted.text import visible


def ask(
    verb: str,
    environ: Mapping[str, str],
    path: str | None,
    timeout: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Ask the service that an environment names, and return its answer.

    Args:
        verb: one of `control.VERBS`.
        environ: the variables MAINPID, RUNTIME_DIRECTORY and SOCKACT_CONTROL of the service.
        path: the path of its control socket, if the user gave one.
        timeout: the time that the answer may take, as the user gave it.
        more: further members of the request.

    Raises:
        UsageError: no service is named, or it has no control socket.
    """
    _prepare()
    limit = patience(timeout)
    pid = main_pid(environ)
    choice = _choice(environ, path, pid, verb)
    sock, where = control_address.find(choice, environ, pid, limit)
    with sock:
        return control.ask(sock, verb, where, patience=limit, **more)


def patience(timeout: str) -> float | None:
    """Return the seconds that an answer may take; None for no limit.

    Raises:
        UsageError: the text is no time.
    """
    try:
        return values.seconds_or_none(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout={timeout}: {error}, or none") from None


def ask_unit(
    verb: str,
    located: Located,
    path: str | None,
    timeout: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Ask a unit, as `ask`; the error says so if it is no service of sockact."""
    try:
        return ask(verb, located.environ, path, timeout, more)
    except UnavailableError as error:
        pid = main_pid(located.environ)
        if path is not None or control_address.exists(located.environ, pid):
            raise
        raise UnavailableError(
            f"{located.unit} is no service of sockact that this user can see: its main process {pid} is"
            f" {proc.name_of(pid)}, and has no control socket ({error})"
        ) from error


def carry_out(
    verb: str,
    unit: str | None,
    path: str | None,
    timeout: str,
    more: Mapping[str, Any] = MappingProxyType({}),
    *,
    user: bool,
) -> int:
    """Ask a unit, or else the service of this process, as `ask`, and print the answer.

    Returns:
        The exit status: 0 if it was done, else 1.
    """
    if unit is None:
        return show(ask(verb, os.environ, path, timeout, more))
    from sockact.systemd import systemctl

    return show(ask_unit(verb, systemctl.locate(unit, os.environ, user=user), path, timeout, more))


def show(answer: Mapping[str, Any]) -> int:
    """Print an answer; return the exit status."""
    print(visible(answer["text"]), file=sys.stdout if answer["ok"] else sys.stderr)
    return 0 if answer["ok"] else 1


def _choice(environ: Mapping[str, str], path: str | None, pid: int, verb: str) -> str:
    """Return the service's setting `control`, which a given path overrides."""
    choice = environ.get("SOCKACT_CONTROL", "auto") if path is None else path
    if choice == "auto" and not pid and not environ.get("RUNTIME_DIRECTORY"):
        raise UsageError(
            f"expected the UNIT to {verb}, or RUNTIME_DIRECTORY and MAINPID of a service: both are unset"
        )
    if choice == "none":
        raise UsageError(f"SOCKACT_CONTROL={choice}: this service has no control socket")
    return choice


def _prepare() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack characters of the answer
    for number, pythons in ((signal.SIGINT, signal.default_int_handler), (signal.SIGPIPE, signal.SIG_IGN)):
        if signal.getsignal(number) is pythons:
            signal.signal(number, signal.SIG_DFL)  # after Ctrl-C nobody needs a traceback


def main_pid(environ: Mapping[str, str] = os.environ) -> int:
    """Return the main process of the service; 0 if the environment does not name it."""
    return decimal(environ.get("MAINPID"), digits=9) or 0
