"""The control socket from the caller's side, who may be root: any answer is shown, or an error."""

from __future__ import annotations

import json
import os
import socket

from sockact.cli import prometheus
from sockact.errors import UnavailableError
from sockact.protocols import control, overview
from sockact.sockets import unix_path
from sockact.untrusted.text import visible
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b'"ok": true',
        b'"ok": false',
        b'"text": ""',
        b'"service": ',
        b'"workers": []',
        b'"reload": null',
        b'"rss": null',
    ),
    *(
        b"9223372036854775808",
        b"-1",
        b"1e11",
        b"1e999",
        b"NaN",
        b"true",
        b"null",
        b"[]",
        b"{}",
        b'"\\ud800"',
        b'"\\u001b"',
    ),
    *(
        b"\n",
        b",",
        b"{",
        b"}",
        b"[",
        b"[" * 300,
        b'"',
        b"\\",
        b"\xff",
        b"\0",
        b'"uptime": 1e10',
        b'"at": 99999999999',
    ),
)

WHERE = "/run/x/control"


def target(data: bytes) -> None:
    """Ask, get the input as the answer, and show it in all forms."""
    for verb in ("status", "reload"):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            try:
                answer = control.ask(ours, verb, WHERE, patience=30)
            except UnavailableError as error:
                if len(str(error)) > 400:
                    raise Broken(f"an error of {len(str(error))} characters") from error
                continue
        _check_shown(visible(answer["text"]))
        if verb == "status" and answer["ok"]:
            _show({**answer["service"], "pid": os.getpid()})  # so that its sockets are looked for


def _show(service: dict[str, object]) -> None:
    _check_shown(overview.render(service))
    _check_shown(prometheus.render(service))
    _check_shown(json.dumps(service).replace("\x7f", r"\u007f"))
    for line in unix_path.unreachable(service["sockets"], service["pid"]):  # type: ignore[arg-type]
        _check_shown(visible(line))


def _check_shown(text: str) -> None:
    text.encode()
    if not all(line.isprintable() for line in text.split("\n")):
        raise Broken(f"shown on a terminal: {text!r}")
