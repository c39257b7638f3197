"""Arguments and output that `sockact probe` and `sockact prove` have in common."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sockact.errors import UnavailableError, UsageError
from sockact.probe.own_address import is_own
from sockact.probe.page.document import render
from sockact.probe.report import document
from sockact.probe.run import Result, RunPlan
from sockact.probe.session import Progress, until_signal
from sockact.probe.spec import DEFAULT, KINDS, Spec, SpecError, parse_specs
from sockact.probe.wire import Address, resolve
from sockact.untrusted.text import visible

LOST = 1
"""The exit status if a request was lost."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that is over, with its report."""

    result: Result
    report: Mapping[str, Any]


def add_load(command: argparse.ArgumentParser) -> None:
    """Add the arguments for the load and the output."""
    load = (
        f"KIND:CLIENTS@RATE, the rate per second and client, or max; several [{' '.join(DEFAULT)}]."
        f" Kinds: {', '.join(KINDS)}"
    )
    command.add_argument("--load", metavar="LOAD", action="append", help=load)
    command.add_argument("--limit", metavar="TIME", default="30s", help="for each request [30s]")
    command.add_argument(
        "--around", metavar="TIME", default="3s", help="load before and after an action [3s]"
    )
    command.add_argument("--host", metavar="NAME", help="for the Host field of the requests")
    command.add_argument("--html", metavar="FILE", help="write a page with a picture of the run")
    command.add_argument("--json", action="store_true", help="for programs; see `sockact.probe.report`")


def specs(loads: Sequence[str] | None) -> tuple[Spec, ...]:
    """Return the loads that were given, or the default."""
    try:
        return parse_specs(loads or ())
    except SpecError as error:
        raise UsageError(f"--load {error}") from None


def address_of(url: str, *, this_is_mine: bool = False) -> Address:
    """Return the address of a URL, which has to be this machine's, unless the user may load others."""
    try:
        address = resolve(url)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UnavailableError(f"{url}: {error.strerror or error}") from error
    if not this_is_mine and not is_own(address):
        raise UsageError(f"{url} is not on this machine: load it only if it is yours, with --this-is-mine")
    return address


def with_host(address: Address, host: str | None) -> Address:
    """Return an address with the Host field that was given."""
    if host is None:
        return address
    if not host or not host.isascii() or not host.isprintable() or " " in host:
        raise UsageError(f"--host={host}: expected a name like shop.example")
    return replace(address, host=host)


def url_path(text: str | None) -> str:
    """Return a path that was given, or the default."""
    if text is None:
        return "/"
    if not text.startswith("/") or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"--path={text}: expected a path like /health")
    return text


def require_writable(path: str | None) -> None:
    """Refuse a page that cannot be written, before anything is loaded."""
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise UsageError(f"--html={path}: expected a file that can be written")


def measure(url: str, plan: RunPlan) -> Measured:
    """Run a plan, and tell on standard error how it goes on."""
    progress = Progress(sys.stderr)
    try:
        result = asyncio.run(until_signal(plan, progress.announce, progress.tell))
    finally:
        progress.close()
    return Measured(result, document(url, plan.specs, result))


def write_page(measured: Measured, path: str | None, about: str = "") -> None:
    """Write the page, if one was asked for."""
    if path is None:
        return
    page = render(measured.report, measured.result, datetime.now().astimezone(), about)
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(page)
    except OSError as error:
        raise UsageError(f"--html={path}: {error.strerror}") from error


def show(lines: Sequence[str], measured: Measured, *, as_json: bool, more: Mapping[str, Any]) -> None:
    """Print the result: lines for people, or the report with more members for programs."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack characters
    # Not before the end of the run, in which a connection may break: the probe would die of it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if as_json:
        print(json.dumps({**measured.report, **more}))
    else:
        print(*map(visible, lines), sep="\n")


def exit_status(report: Mapping[str, Any]) -> int:
    """Return 1 if a request was lost; 69 if not every client was served, or an action failed; else 0."""
    if report["lost"]:
        return LOST
    failed = report["started"] is None or any(action["status"] != 0 for action in report["actions"])
    return UnavailableError.exit_status if failed else 0
