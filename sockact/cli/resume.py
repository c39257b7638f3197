"""`sockact resume`: ends the pause of a service."""

from __future__ import annotations

import argparse

from sockact.cli import service_call
from sockact.cli.arguments import STATUS_TIMEOUT, add_service


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_service(command)


def run(unit: str | None, control: str | None, timeout: str | None, *, user: bool) -> int:
    """End the pause of a service: what has waited since `sockact pause` is served."""
    return service_call.carry_out("resume", unit, control, timeout or STATUS_TIMEOUT, user=user)
