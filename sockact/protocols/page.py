"""Makes docs/notifications.md from the code: `python -m sockact.protocols.page >docs/notifications.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

from sockact.protocols import worker_messages
from sockact.protocols.notify import Notifier

INTRODUCTION = """# Notifications

<!-- Made by `python -m sockact.protocols.page >docs/notifications.md` from the code; do not edit it. -->

The datagrams that a service sends to its manager, on the socket that NOTIFY_SOCKET names: sd_notify(3). A
worker sends the same to its supervisor. `systemd-notify` and any other program may send them to a
supervisor, too ([running](running.md#other-programs)).
"""
TO_MANAGER = """## To any manager

| assignments | |
|---|---|
"""
TO_SUPERVISOR = """
## To the supervisor alone

systemd ignores names that begin with `X_`, as sd_notify(3) promises.

| assignment | |
|---|---|
"""
ORDERS = """
## From the supervisor to a worker

Orders are texts over a socket of their own, in place of signals: nothing that an app does to the signals of
its process keeps one away. A worker that asks for none, an older one or another program, gets signals.

| order | |
|---|---|
"""
_LINE = re.compile(r"^    (\S+(?: (?:pid|number))?(?:, \S+)*)(?: {2,}(.*))?$", re.MULTILINE)
_CALLS: Sequence[tuple[str, Callable[[Notifier], object]]] = (
    ("ready", lambda notifier: notifier.ready("...")),
    ("reloading", lambda notifier: notifier.reloading("...")),
    ("stopping", lambda notifier: notifier.stopping("...")),
    ("status", lambda notifier: notifier.status("...")),
    ("extend", lambda notifier: notifier.extend(10)),
    ("ping", Notifier.ping),
    ("restart_reset", Notifier.restart_reset),
    ("forget", lambda notifier: notifier.forget("NAME")),
)


_WITH_DESCRIPTORS = {"store": "FDSTORE=1\nFDNAME=NAME", "barrier": "BARRIER=1"}


class _Recorder(Notifier):
    """A notifier that keeps the assignments."""

    def __init__(self) -> None:
        self.sent = ""

    def _send(self, state: str, *, must: bool = False) -> None:  # noqa: ARG002 - as it is called
        self.sent = re.sub(r"(MONOTONIC_USEC)=\d+", r"\1=...", state)


def page() -> str:
    """Return the whole text."""
    messages, orders = (worker_messages.__doc__ or "").split("A supervisor sends", 1)
    sent = {name: _sent(call) for name, call in _CALLS} | _WITH_DESCRIPTORS
    tables = (
        TO_MANAGER,
        *map(_row, sent, sent.values()),
        TO_SUPERVISOR,
        *_described(messages),
        ORDERS,
        *_described(orders),
    )
    return f"{INTRODUCTION}\n{''.join(tables)}"


def _sent(call: Callable[[Notifier], object]) -> str:
    recorder = _Recorder()
    call(recorder)
    return recorder.sent


def _row(name: str, sent: str) -> str:
    sentence = (getattr(Notifier, name).__doc__ or "").partition("\n")[0]
    return f"| {' '.join(f'`{each}`' for each in sent.splitlines())} | {sentence} |\n"


def _described(text: str) -> list[str]:
    return [f"| `{found[1]}` | {(found[2] or 'a counter').strip()} |\n" for found in _LINE.finditer(text)]


if __name__ == "__main__":
    sys.stdout.write(page())
