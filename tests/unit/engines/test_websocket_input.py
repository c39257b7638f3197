"""What clients send on a WebSocket that is no message: it ends in order, whatever comes with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.moving import CLOSE, TEXT, Echo, Journey, frame, text

NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007
NO_TEXT = frame(TEXT, b"\xff")


@pytest.mark.parametrize(
    "behind",
    [b"", text("more"), frame(CLOSE, b"\x03\xe8"), frame(CLOSE, b"\0"), b"\xf1\x80\0\0\0\0", frame(3, b"")],
    ids=["nothing", "a message", "a close frame", "a wrong close frame", "a wrong frame", "a wrong opcode"],
)
def test_a_text_that_is_none_ends_it_in_order_whatever_comes_with_it(behind: bytes) -> None:
    faults: list[dict[str, Any]] = []
    echo = Echo()

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        journey = Journey(echo)
        await journey.begin()
        journey.send(NO_TEXT + behind)
        code = await journey.close_code()
        journey.client.close()
        await journey.wait_drained()
        assert code in (INVALID_DATA, PROTOCOL_ERROR, NORMAL)

    asyncio.run(scene())

    assert faults == []
    assert len(echo.ends) == 1
