"""Finds where a service answers, by one request to each of its addresses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from sockact.errors import UnavailableError
from sockact.probe.run import RunPlan, run
from sockact.probe.spec import parse_spec
from sockact.probe.wire import Address, resolve
from sockact.prove import listening
from sockact.systemd.systemctl import Described

WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
ONCE = parse_spec("one-shot:1@max")


class Target(NamedTuple):
    """An address that answers, and its URL."""

    address: Address
    url: str


def find(service: Described, path: str, host: str | None, limit: float) -> Target:
    """Return the first address of a service at which a request is answered with 2xx.

    Args:
        service: the service, with its property ControlGroup.
        path: the path of the request.
        host: its Host field; None for the address itself.
        limit: the seconds that an answer may take; a service that does not run is started by its socket.

    Raises:
        UnavailableError: there is none; says what each one has answered.
    """
    known = [address for found in service.listen.values() for address in found]
    known = known or listening.addresses(service.properties["ControlGroup"])
    if not known:
        raise UnavailableError(
            f"{service.unit} has no socket unit, and no process of it listens that this user may see:"
            " expected root, or --url=URL"
        )
    refusals = []
    for url in urls(known):
        address = at(url, path, host)
        if (refusal := ask(address, limit)) is None:
            return Target(address, shown(url, path))
        refusals.append(f"{shown(url, path)}: {refusal}")
    hint = "; try --path or --host" if any(": status " in each for each in refusals) else ""
    raise UnavailableError(f"{service.unit} does not answer with 2xx: {', '.join(refusals)}{hint}")


def given(address: Address, url: str, limit: float) -> Target:
    """Return an address that the user has given, if a request to it is answered with 2xx."""
    if (refusal := ask(address, limit)) is not None:
        raise UnavailableError(f"{url} does not answer with 2xx: {refusal}")
    return Target(address, url)


def urls(addresses: Sequence[str]) -> Iterator[str]:
    """Yield the URLs for addresses as systemd shows them: HTTP before HTTPS."""
    for address in addresses:
        if address.startswith("/"):
            yield f"unix:{address}"
        elif found := re.fullmatch(r"(.+):([0-9]+)", address):
            host = WILDCARDS.get(found[1], found[1]).partition("%")[0]
            yield from (f"{scheme}://{host}:{found[2]}" for scheme in ("http", "https"))


def at(url: str, path: str, host: str | None) -> Address:
    """Return the address of a URL, for requests with a path and a Host field."""
    address = resolve(url)
    return replace(address, path=path, host=host or address.host)


def shown(url: str, path: str) -> str:
    """Return a URL with a path; that of a Unix socket has none."""
    return url if url.startswith("unix:") else f"{url}{path}"


def ask(address: Address, limit: float) -> str | None:
    """Make one request, and return why it was not served; None if it was."""
    plan = RunPlan(address, (ONCE,), requests=1, limit=limit, start_limit=limit)
    result = asyncio.run(run(plan, asyncio.Event(), lambda _: None, lambda _: None))
    failures = result.ledger.failures
    return failures[0].detail if failures else None
