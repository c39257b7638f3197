"""`sockact pause`: lets the clients of a service wait, while a database moves for example."""

from __future__ import annotations

import argparse

from sockact.cli import arguments, service_call

USUAL = "30s"
"""Most clients, and proxies before a service, wait for at least so long."""

ANSWER_LEEWAY = 5.0
"""Seconds from the end of a pause to the answer that it has ended before all was done."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command.add_argument("--for", dest="limit", metavar="TIME", help=f"end the pause after this [{USUAL}]")
    arguments.add_service(command)


def run(
    unit: str | None, limit: str | None, control: str | None, timeout: str | None, *, user: bool
) -> int:
    """Pause a service, and wait until none of its requests is in flight.

    From then on new connections and new requests wait, and none is refused; `sockact resume` ends that. The
    exit status is 0 when no request is in flight any more, and 1 if the pause has ended before.
    """
    seconds = arguments.seconds("--for", limit or USUAL)
    longest = timeout or f"{seconds + ANSWER_LEEWAY:g}"
    return service_call.carry_out("pause", unit, control, longest, {"seconds": seconds}, user=user)
