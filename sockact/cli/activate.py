"""`sockact activate`: starts a program with sockets, as systemd does for a socket unit, without systemd."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from sockact.activate.parent import ActivatingParent
from sockact.activate.plan import ActivationPlan, RestartPolicy
from sockact.activate.watch import FileWatch
from sockact.config import values
from sockact.errors import UsageError
from sockact.sockets.fds import Kind, Listener
from sockact.sockets.listen import bind
from sockact.untrusted.text import visible

T = TypeVar("T")

STOP_TIMEOUT = "90s"
"""As DefaultTimeoutStopSec= of systemd-system.conf(5)."""

STORES = 512
"""With the sockets, fewer than the 1024 descriptors that a process may have open by default."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    address = "port, host:port, [v6]:port, /path, @abstract or udp:port; repeatable; NAME= names the socket"
    option = command.add_argument
    option("--listen", "-l", metavar="[NAME=]ADDRESS", action="append", required=True, help=address)
    watched = "restart the program when this file, or a file in this folder, changes; repeatable"
    option("--watch", metavar="PATH", action="append", default=[], help=watched)
    include = "of the files in watched folders, only those whose names match; repeatable"
    option("--include", metavar="PATTERN", action="append", default=[], help=include)
    option("--no-restart", action="store_true", help="end when the program ends")
    stop = f"how long the program's end may take, or none; then it is killed [{STOP_TIMEOUT}]"
    option("--stop-timeout", metavar="TIME", default=STOP_TIMEOUT, help=stop)
    stores = f"how many descriptors are stored for the program's next start [{STORES}]"
    option("--store", metavar="NUMBER", default=str(STORES), help=stores)


def run(
    program: Sequence[str],
    listen: Sequence[str],
    watch: Sequence[str],
    include: Sequence[str],
    stop_timeout: str,
    store: str,
    *,
    no_restart: bool,
) -> int:
    """Bind sockets, and keep a program that serves them: `sockact activate -l 8000 -- PROGRAM ARGUMENT...`.

    SIGUSR1 restarts it; SIGHUP and SIGUSR2 are passed on to it.
    """
    if not program:
        raise UsageError("expected -- PROGRAM ARGUMENT... at the end")
    if shutil.which(program[0]) is None:
        raise UsageError(f"{program[0]}: expected a program that can be executed")
    if include and not watch:
        raise UsageError(f"--include={include[0]}: expected --watch=PATH too")
    plan = ActivationPlan(
        program,
        os.environ,
        RestartPolicy.NEVER if no_restart else RestartPolicy.ALWAYS,
        FileWatch(watch, include) if watch else None,
        stop_timeout=_parsed("--stop-timeout", stop_timeout, values.seconds_or_none),
        stores=_parsed("--store", store, values.number),
    )
    listeners = bind(listen)
    return keep(plan, listeners, "activate", f"listens on {', '.join(map(_shown, listeners))}")


def keep(plan: ActivationPlan, listeners: Sequence[Listener], name: str, opening: str) -> int:
    """Keep a program until it is over.

    Args:
        plan: the program.
        listeners: its sockets.
        name: stands before each line on stderr, one for each event.
        opening: the first of these lines.

    Returns:
        The program's exit status.
    """

    def report(line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more: that ends no program
            print(f"{name}: {visible(line)}", file=sys.stderr, flush=True)

    report(opening)
    return asyncio.run(ActivatingParent(plan, listeners, report).run())


def _shown(listener: Listener) -> str:
    kind = "" if listener.kind is Kind.STREAM else f" ({listener.kind.value})"
    return f"{listener.name}={listener.address}{kind}"


def _parsed(option: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option}={text}: {error}") from None
