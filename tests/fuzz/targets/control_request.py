"""The control socket from the service's side: whatever a caller sends, it is answered with one line."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from sockact.process.unapplied import StartSnapshot
from sockact.protocols import overview
from sockact.protocols.control import LONGEST_PAUSE, TEXT_LIMIT, Caller, ControlServer
from sockact.untrusted.text import visible
from tests.fuzz import loops
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import cut

DICTIONARY = (
    *(
        b'{"verb": "reload"',
        b'{"verb": "status"}',
        b'{"verb": "pause"',
        b', "seconds": 1',
        b'{"verb": "resume"}',
        b', "manager": true',
        b', "environ": {',
        b'"SOCKACT_WORKERS": "4"',
    ),
    *(
        b"}\n",
        b"\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\ud800",
        b"\\u0000",
        b"\\n",
        b"null",
        b"true",
        b"NaN",
        b"1e999",
    ),
    *(
        b"9" * 30,
        b"\xff",
        b"\0",
        b'"verb": 1',
        b'"environ": {"a": "\\ud800"}',
        b'"environ": []',
        b"[" * 200,
        b" ",
    ),
)

STATUS: dict[str, Any] = {
    "phase": "active",
    "status": "",
    "pid": 1,
    "generation": 1,
    "requests": 0,
    "sockets": [],
    "workers": [],
    "reload": None,
    "reloads": {"ok": 0, "failed": 0},
}

LIMIT = 30

SNAPSHOT = StartSnapshot({"SOCKACT_WORKERS": "4"})


def target(data: bytes) -> None:
    """Send a request, in pieces, and read the answer."""
    answer = loops.run(_asked(cut(data)))
    _check(answer)


async def _asked(pieces: list[bytes]) -> bytes:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        server = ControlServer(listener, _Service(), lambda: STATUS)
        try:
            client.connect(listener.getsockname())
            client.setblocking(False)
            async with asyncio.timeout(LIMIT):
                return await _exchange(client, pieces)
        finally:
            server.close()


async def _exchange(client: socket.socket, pieces: list[bytes]) -> bytes:
    for piece in pieces:
        try:
            client.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            break  # it has heard enough
        await asyncio.sleep(0)
    else:
        client.shutdown(socket.SHUT_WR)
    answer = b""
    loop = asyncio.get_running_loop()
    try:
        while part := await loop.sock_recv(client, 65536):
            answer += part
    except ConnectionResetError:  # it has sent an answer, and not read all
        pass
    return answer


class _Service:
    """Answers as the conductor does."""

    def request_reload(self, caller: Caller) -> None:
        text = "; ".join(map(visible, SNAPSHOT.changed(caller.environ)))
        caller.answer(not caller.manager, text)

    def request_pause(self, caller: Caller, seconds: float) -> None:
        if not 0 < seconds <= LONGEST_PAUSE:
            raise Broken(f"a pause of {seconds} s")
        caller.answer(True, f"{seconds:g}")

    def request_resume(self, caller: Caller) -> None:
        caller.answer(True, "")


def _check(line: bytes) -> None:
    if not line:
        return  # reset with the request
    answer = json.loads(line)
    if not (line.endswith(b"\n") and line.count(b"\n") == 1 and isinstance(answer["ok"], bool)):
        raise Broken(f"answered {line!r}")
    if len(answer["text"]) > TEXT_LIMIT:
        raise Broken(f"an answer of {len(answer['text'])} characters")
    if "service" in answer:
        overview.render(answer["service"])
