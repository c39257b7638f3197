"""NOTIFY_SOCKET and its companions, and texts that others have a hand in: each is one line of its own.

An input has a line for each of the four variables, `@@` for the address of a manager; the rest is a text.
"""

from __future__ import annotations

import os
import warnings

from sockact.protocols.counters import Counters
from sockact.protocols.notify import NotifySocket
from sockact.protocols.notify.wire import VARIABLES
from sockact.protocols.worker_messages import Reporter, WorkerMessage
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"@@",
        b"@",
        b"/nowhere",
        b"/dev/null",
        b"vsock:1:2",
        b"\n",
        b"0",
        b"1",
        b"30000000",
        b"9" * 19,
        b"9" * 30,
        b"-1",
    ),
    *(
        b"own",
        b"\xff",
        b"\xe2\x80\xa8",
        b"READY=1",
        b"MAINPID=1",
        b"\r",
        b"\x1b[31m",
        b"x" * 120,
        b"\xd9\xa3",
        b"=",
        b" ",
    ),
)


def target(data: bytes) -> None:
    """Notify a manager."""
    values = Values(data.replace(b"\0", b""))
    with NotifySocket(stores=True) as manager:
        before = dict(os.environ)
        try:
            for name in VARIABLES:
                text = os.fsdecode(values.line()).replace("@@", manager.address)
                os.environ[name] = text.replace("own", str(os.getpid())).replace("/run", "/nowhere")
            _notify(manager, os.fsdecode(values.rest))
        finally:
            os.environ.clear()
            os.environ.update(before)


def _notify(manager: NotifySocket, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # sdnotify does not close what cannot connect
        notifier = Reporter()
    try:
        if left := [name for name in VARIABLES if name in os.environ]:
            raise Broken(f"{left} are left to the app's children")
        interval, room = notifier.watchdog_interval, notifier.storage
        if room < 0 or (interval is not None and not 0 < interval < 1e13):
            raise Broken(f"a watchdog of {interval}, a store of {room}")
        _say(notifier, text)
        heard = []
        while (notification := manager.receive()) is not None:
            notification.close()
            heard.append(dict(notification.assignments))
        if heard:
            _check(heard, text)
    finally:
        notifier.close()


def _say(notifier: Reporter, text: str) -> None:
    notifier.ready(text)
    notifier.status(text, Counters(1, 2, 3))
    notifier.version(text)
    notifier.consent(text)
    notifier.recycle(text)
    notifier.options(text.split(" "))
    notifier.introduce()


def _check(heard: list[dict[str, str]], text: str) -> None:
    """Fail unless each text has stayed in its own line."""
    names = [sorted(each) for each in heard]
    counted = ["STATUS", "X_SOCKACT_CONNECTIONS", "X_SOCKACT_IN_FLIGHT", "X_SOCKACT_REQUESTS"]
    told = [[f"X_SOCKACT_{name}"] for name in ("VERSION", "CONSENT", "RECYCLE", "OPTIONS")]
    if names != [["READY", "STATUS"], counted, *told, ["READY", "X_SOCKACT_OPTIONS", "X_SOCKACT_VERSION"]]:
        raise Broken(f"{text!r} is heard as {heard}")
    messages = [WorkerMessage.from_assignments(each) for each in heard]
    if messages[1].counters != (1, 2, 3) or messages[2].version != messages[6].version:
        raise Broken(f"{text!r} is understood as {messages}")
