"""The servers whose units are checked: their readiness, their sockets, their signals.

Sources: the code of gunicorn 27, uvicorn 0.54, hypercorn 0.18 and granian 2; Puma's docs/signals.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server's behaviour under systemd.

    Attributes:
        name: its command.
        tells_ready: whether it sends READY=1.
        pings: whether it sends WATCHDOG=1.
        takes_sockets: whether it serves on passed sockets; `--fd`: if it has this option.
        reloads_on_hangup: whether SIGHUP reloads it; it ends it if not.
        cutting: the signals that end it without a drain.
        drain: the option that limits its drain.
        drain_limit: the default of that, in seconds; None if there is no limit.
        daemonizing: the options with which its main process leaves.
        binding: the options with an address on which it listens.
        has_workers: whether it has worker processes by default.
    """

    name: str
    tells_ready: bool = False
    pings: bool = False
    takes_sockets: bool | str = False
    reloads_on_hangup: bool = False
    cutting: tuple[str, ...] = ()
    drain: str = ""
    drain_limit: float | None = None
    daemonizing: tuple[str, ...] = ()
    binding: tuple[str, ...] = ("--bind", "-b")
    has_workers: bool = False


SERVERS = {
    facts.name: facts
    for facts in (
        ServerFacts(
            "sockact",
            tells_ready=True,
            pings=True,
            takes_sockets=True,
            reloads_on_hangup=True,
            cutting=("SIGQUIT",),
            drain="--drain-timeout",
            drain_limit=30.0,
            binding=("--listen",),
            has_workers=True,
        ),
        ServerFacts(
            "gunicorn",
            tells_ready=True,
            takes_sockets=True,
            reloads_on_hangup=True,
            cutting=("SIGINT", "SIGQUIT"),
            drain="--graceful-timeout",
            drain_limit=30.0,
            daemonizing=("--daemon", "-D"),
            has_workers=True,
        ),
        ServerFacts(
            "uvicorn", takes_sockets="--fd", drain="--timeout-graceful-shutdown", binding=("--port",)
        ),
        ServerFacts("hypercorn", takes_sockets="fd://", drain="--graceful-timeout", drain_limit=3.0),
        ServerFacts("granian", reloads_on_hangup=True, binding=("--port",), has_workers=True),
        # SIGHUP reopens the log files, or stops it where output is not redirected.
        ServerFacts(
            "puma", tells_ready=True, pings=True, takes_sockets=True, binding=("--bind", "-b", "-p")
        ),
    )
}
