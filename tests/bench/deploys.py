"""Reloads and restarts of sockact, and of other servers beside it, on real systemd.

Each server is a service as its own documentation says, with 2 workers and the same app, of 32 threads each
for WSGI and Rack; nginx has a configuration instead. sockact, gunicorn, uvicorn (`--fd 3`), hypercorn
(`fd://3`), uWSGI and Puma get their socket from systemd, granian and nginx bind theirs. A reload is SIGHUP;
for Puma SIGUSR1, a phased restart; for nginx `-s reload`; for uWSGI in a chain a touched file of
`--touch-chain-reload`, with `--lazy-apps`.

All run on one machine, and take turns. 16 kept connections ask 10 times a second each, and 8 clients with a
connection for each request as often. A server gets a new release, then `systemctl reload` or `systemctl
restart`. A window ends half a second after new connections have reached nothing but the new release; until
then it takes as long as the last column says, in seconds. A stall is the longest time in which a request
was due and none was answered, `slowest` is the longest response time. A kept connection that was closed may
be one that was opened in place of another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.bench.deploying import CHANGES, NOTHING, Window, all_servers
from tests.bench.figures import cell, table
from tests.bench.servers import SERVERS, Server

PICTURE = "\n\n![The longest stalls, lost requests and closed connections of each server](deploys.svg)"
"""The picture in the page, which `tests.bench.deploys_picture` draws out of that."""

ROUNDS = 5


def measure(rounds: int) -> Iterator[str]:
    with all_servers("bench-deploys") as (deploys, versions):
        yield versions
        for what in (*CHANGES, NOTHING) * rounds:
            for server in SERVERS:
                window = deploys.deploy(server, what)
                deploys.windows.setdefault((what, server.name), []).append(window)
                if window.new is None and what != NOTHING:
                    deploys.heal(server)
        for what in (*CHANGES, NOTHING):
            yield f"{what}, {rounds} of each server"
            yield from table(
                [HEAD, *(_row(server, deploys.windows[what, server.name]) for server in SERVERS)]
            )


HEAD = (
    "",
    "lost",
    "of",
    "by cause",
    "kept ones closed",
    "stall in ms",
    "slowest in ms",
    "new release after s",
)


def _row(server: Server, windows: Sequence[Window]) -> Sequence[str]:
    lost = sum(window.report["lost"] for window in windows)
    requests = sum(window.report["requests"] for window in windows)
    new = [window.new for window in windows if window.new is not None]
    missing = f", {len(windows) - len(new)} never" if len(new) < len(windows) else ""
    return (
        server.name,
        f"{lost:,}",
        f"{requests:,}",
        causes(windows),
        cell([window.closed for window in windows]),
        cell([window.stall for window in windows]),
        cell([window.slowest for window in windows]),
        (cell(new, 1) if new else "-") + missing * (windows[0].status is not None),
    )


def causes(windows: Sequence[Window]) -> str:
    """Say why requests were lost."""
    found: Counter[str] = Counter()
    for window in windows:
        found.update(window.report["total"]["outcomes"])
    del found["ok"]
    return ", ".join(f"{number} {cause}" for cause, number in found.most_common() if number) or "-"
