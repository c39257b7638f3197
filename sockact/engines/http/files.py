"""Sends files: by sendfile(2), or in parts where TLS or chunks are in the way."""

from __future__ import annotations

import asyncio
import os
from typing import BinaryIO

from sockact.engines.http.call import AppCall

AT_ONCE = 256 * 1024
"""Bytes that are sent in one turn of the loop."""


async def send_file(call: AppCall, file: BinaryIO, size: int) -> None:
    """Send so many bytes of a file as the body, from its current position; less, if the client goes."""
    response = call.response
    if response.bodyless:
        return
    if response.framed or call.connection.tls is not None:
        await _send_parts(call, file, size)
    else:
        response.sent(size)
        await _send_by_kernel(call, file, size)


async def _send_parts(call: AppCall, file: BinaryIO, size: int) -> None:
    connection = call.connection
    while size and not call.gone:
        part = file.read(min(size, AT_ONCE))
        if not part:
            raise OSError("the file has become shorter while it was sent")
        size -= len(part)
        connection.send(call.response.part(part))
        if connection.paused:
            await connection.writable()
        else:
            await asyncio.sleep(0)


async def _send_by_kernel(call: AppCall, file: BinaryIO, size: int) -> None:
    connection = call.connection
    loop = asyncio.get_running_loop()
    transport = connection.transport
    low, high = transport.get_write_buffer_limits()
    transport.set_write_buffer_limits(0)
    offset = file.tell()
    copy = -1
    try:
        while transport.get_write_buffer_size() and not call.gone:
            await connection.writable()
        if call.gone:
            return
        copy = os.dup(connection.fileno())  # the loop does not let others watch a transport's descriptor
        while size and not call.gone:
            connection.file_bytes = size
            try:
                sent = os.sendfile(copy, file.fileno(), offset, min(size, AT_ONCE))
            except BlockingIOError:
                loop.add_writer(copy, connection.wake_writers)
                try:
                    await connection.writable()
                finally:
                    loop.remove_writer(copy)
                continue
            except OSError:  # the client has gone, which the transport tells as well
                transport.abort()
                return
            if not sent:
                raise OSError("the file has become shorter while it was sent")
            size -= sent
            offset += sent
            connection.last_activity = loop.time()
            await asyncio.sleep(0)
    finally:
        connection.file_bytes = 0
        if copy >= 0:
            os.close(copy)
        if not transport.is_closing():
            transport.set_write_buffer_limits(high, low)
