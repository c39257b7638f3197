"""Broken releases of sockact and of the other servers of Deploys, in a reload and in a restart, once each.

A broken release ends in a syntax error. The processes that answer in the last second of five or more are
counted. Then a repaired release is put in place, and after a reload there is another one. A server that
does not serve it within 10 s needs a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.deploying import CHANGES, COMMAND_LIMIT, REPAIR_LIMIT, UNENDED, Deploys, all_servers
from tests.bench.deploys import causes
from tests.bench.figures import table
from tests.bench.servers import SERVERS, Server

ROUNDS = 1


def measure(rounds: int) -> Iterator[str]:
    with all_servers("bench-broken") as (deploys, versions):
        yield versions
        for what in CHANGES * rounds:
            yield f"{what} into a broken release"
            yield from table([HEAD, *(_broken(deploys, server, what) for server in SERVERS)])


HEAD = (
    "",
    "command",
    "lost",
    "of",
    "by cause",
    "stall in ms",
    "answering processes",
    "service",
    "a repaired release",
)


def _broken(deploys: Deploys, server: Server, what: str) -> Sequence[str]:
    """Deploy a broken release, then a repaired one."""
    window = deploys.deploy(server, what, broken=True)
    shown = deploys.machine.show(f"{server.unit}.service", "ActiveState", "SubState")
    last = window.last()
    answers = f"{len(last)} of the old" if last else "none"
    deploys.release(server)
    if what == "reload":
        deploys.command(server, what)
    repaired = deploys.answered(server, REPAIR_LIMIT) is not None
    if not repaired:
        deploys.heal(server)
    return (
        server.name,
        {0: "succeeds", UNENDED: f"waits {COMMAND_LIMIT} s"}.get(window.status or 0, "fails"),
        f"{window.report['lost']:,}",
        f"{window.report['requests']:,}",
        causes([window]),
        f"{window.stall:,.0f}",
        answers,
        f"{shown['ActiveState']} ({shown['SubState']})",
        "serves" if repaired else "needs a restart",
    )
